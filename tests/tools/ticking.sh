#!/usr/bin/env bash
# ticking.sh <what> <command...>: runs a command that may be silent for minutes, and tells every 30 s that it still
# runs, unless its errors go to a terminal, where such commands show progress themselves.
set -uo pipefail
what=$1
shift
[[ ! -t 2 ]] || exec "$@"
(
  # A wait without a child of its own, which would outlive us and hold our outputs open.
  exec {silent}<> <(:)
  while ! read -rt 30 -u "$silent"; do
    echo "$what: $SECONDS s" >&2
  done
) &
ticker=$!
trap 'kill "$ticker" 2>/dev/null' EXIT
"$@"
