ARG VERSION=12 FLAVOUR
ARG "Q=a b"
FROM --platform=linux/amd64 debian:${VERSION}-$FLAVOUR AS Build_1.x
from scratch as two
FROM build_1.x
