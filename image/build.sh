#!/usr/bin/env bash
# Builds the binary that the image holds: static (musl), stripped, and the same from the same sources on every machine.
# Usage: image/build.sh amd64|arm64. Prints the binary's path as the last line of stdout; progress goes to stderr.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

case ${1:?amd64 or arm64} in
amd64) triple=x86_64-unknown-linux-musl ;;
arm64) triple=aarch64-unknown-linux-musl ;;
*)
  echo "image: no build for $1; amd64 and arm64 there are" >&2
  exit 2
  ;;
esac

cache=${XDG_CACHE_HOME:-$HOME/.cache}/ssm-ready
venv=$cache/image-$(cksum <image/requirements.txt | cut -d ' ' -f 1)
mkdir -p "$cache"
exec 9>"$venv.lock"
if command -v flock >/dev/null; then flock 9; fi
if [[ ! -e $venv/complete ]]; then
  echo 'image: installing the linker, once' >&2
  rm -rf "$venv"
  python3 -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r image/requirements.txt >&2
  touch "$venv/complete"
fi
exec 9>&-
if ! rustup target list --installed | grep -qx "$triple"; then rustup target add "$triple" >&2; fi

# Nothing of this machine goes into the binary: no paths, no times.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
export RUSTFLAGS="--remap-path-prefix=$root=/src --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$sysroot=/rust"
export CFLAGS="-ffile-prefix-map=$root=/src -ffile-prefix-map=$cargo_home=/cargo"
export CARGO_INCREMENTAL=0
target=${CARGO_TARGET_DIR:-target}/image
export CARGO_TARGET_DIR=$target CARGO_ZIGBUILD_ZIG_PATH=$venv/bin/python-zig
printf '#!/bin/sh\nexec "%s/bin/python" -m ziglang "$@"\n' "$venv" >"$CARGO_ZIGBUILD_ZIG_PATH"
chmod +x "$CARGO_ZIGBUILD_ZIG_PATH"
"$venv/bin/cargo-zigbuild" zigbuild --locked --release --target "$triple" -p ssm-ready --bin ssm-ready >&2
echo "$target/$triple/release/ssm-ready"
