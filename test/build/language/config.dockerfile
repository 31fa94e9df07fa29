FROM scratch
WORKDIR /a b
USER ${U:-nobody}:$G
EXPOSE 80 443/tcp 5000-5003/udp $PORT
VOLUME /data /var/log
VOLUME ["/with space"]
ENTRYPOINT ["/app"]
CMD ["-v", "x y"]
ENTRYPOINT exec top -b
CMD
ENTRYPOINT []
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
STOPSIGNAL SIGQUIT
MAINTAINER Jane Doe <jane@example.org>
