FROM scratch
RUN a \
  b
COPY <<X /y
line
X
