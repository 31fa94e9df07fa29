# syntax=docker/dockerfile:1
# check=skip=JSONArgsRecommended;error=true

# A comment about the base
FROM debian:bookworm-slim AS base
RUN apt-get update && \
    # a comment inside
    apt-get install -y \
      curl \

      git
CMD echo hello
