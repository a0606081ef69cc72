#!/usr/bin/env bash
# Writes what the image's binary is made of (CycloneDX), from Cargo.lock, and prints the file's path as the last line.
# Usage: image/sbom.sh amd64|arm64
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=0.5.9
tools=${XDG_CACHE_HOME:-$HOME/.cache}/ssm-ready/cargo-cyclonedx-$version
if [[ ! -x $tools/bin/cargo-cyclonedx ]]; then
  echo 'image: installing cargo-cyclonedx, once' >&2
  cargo install cargo-cyclonedx --version "$version" --locked --root "$tools" >&2
fi
case ${1:?amd64 or arm64} in
amd64) triple=x86_64-unknown-linux-musl ;;
arm64) triple=aarch64-unknown-linux-musl ;;
*) exit 2 ;;
esac
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
"$tools/bin/cargo-cyclonedx" cyclonedx --manifest-path controller/Cargo.toml --format json --spec-version 1.5 \
  --target "$triple" --override-filename "ssm-ready-$1.cdx" >&2
target=${CARGO_TARGET_DIR:-target}/image
mkdir -p "$target"
mv "controller/ssm-ready-$1.cdx.json" "$target/ssm-ready-$1.cdx.json"
# It writes one for each member of the workspace.
find . -name "ssm-ready-$1.cdx.json" -not -path './target/*' -delete
echo "$target/ssm-ready-$1.cdx.json"
