# escape=`
FROM scratch
COPY a.txt c:\dir\
RUN one `
    two
ENV A=b`"c B="d`" e"
