FROM scratch
ONBUILD RUN make install
ONBUILD COPY . /app
onbuild run <<X
echo a
X
