FROM scratch
HEALTHCHECK CMD curl -f http://localhost/ || exit 1
HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0 --start-interval=2s --retries=4 cmd ["/check", "a"]
HEALTHCHECK none
