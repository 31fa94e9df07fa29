#escape=\
# Syntax = a/b:1
# unknown=ends the head
# check=skip=all
FROM scratch
