#!/bin/sh
# Makes the stand-in's virtual environment once for each content of requirements.txt, and prints
# its path as the last line. Two runs at once are safe: one makes it, the other waits.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$(sha256sum "$here/requirements.txt" | cut -c1-12)
venv="${XDG_CACHE_HOME:-$HOME/.cache}/ssm-ready/aws-$version"
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
if [ ! -e "$venv/.ready" ]; then
    echo "making $venv" >&2
    # Left over from a run that was stopped half-way.
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes --no-deps -r "$here/requirements.txt" >&2
    touch "$venv/.ready"
fi
echo "$venv"
