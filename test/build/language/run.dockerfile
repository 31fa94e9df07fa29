FROM scratch
RUN echo "a" | grep b
RUN ["/bin/echo", "a b", "$HOME"]
RUN [ "not json ]
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=bind,from=base,source=/x,target=/y,rw --network=none apt-get update
RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=file,target=/s,required,mode=0444,uid=5 --mount=type=ssh --mount=type=tmpfs,target=/t,size=64m true
RUN --mount=type=cache,id=$ID,target=${T:-/c} --security=insecure true
RUN --mount="type=bind,target=/with space" true
RUN -- --not-a-flag
