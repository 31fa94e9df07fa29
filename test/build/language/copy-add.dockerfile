FROM scratch
COPY a b c/ /dest/
COPY ["with space", "/dest dir/"]
COPY --from=0 --chown=1000:1000 --chmod=u=rwX,go=rX --link a b
COPY --parents --exclude=*.md --exclude=**/node_modules ./x/./y/*.txt /z/
COPY --link=false a b
ADD --checksum=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef https://example.org/x.tar.gz /x
ADD --keep-git-dir=true --unpack=false git@example.org:a/b.git#main:sub /src
ADD a.tar.gz /
