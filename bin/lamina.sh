#!/bin/sh
# Starts lamina (lamina.js beside this file). The command `mount` is served by its own process: it stays behind when it has
# said, on fd 4, with which code the command ends, so that a mount takes one start of Node and not two (lib/cli/stay.ts).
main=$0
[ ! -L "$0" ] || main=$(readlink -f -- "$0")
main=$main.js
[ "$1" = mount ] || exec node -- "$main" "$@"
for word; do
  # Served in the foreground, or not at all.
  case $word in -h | --help | --foreground* | -[!-]*f* | -f*) exec node -- "$main" "$@" ;; esac
done
unset NODE_OPTIONS NODE_EXTRA_CA_CERTS
exec 3>&1
code=$(LAMINA_STAY=1 node RESIDENT_FLAGS -- "$main" "$@" 4>&1 >&3 3>&- </dev/null &)
exit "${code:-1}"
