#!/usr/bin/env bash
# Builds the image's binary without a container engine and shows that it is what the image promises: static, running in
# a root that holds nothing else, and with a list of what it is made of. The longest part is the build, once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
fail() {
  echo "image: $*" >&2
  exit 1
}

case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) fail "no image for $(uname -m)" ;;
esac
binary=$(image/build.sh "$arch" | tail -n 1)
size=$(stat -c %s "$binary")

# 1. Static: no interpreter to load it and no library to find.
python3 image/static.py "$binary"

# 2. It runs alone.
export SSM_READY_IMAGE_BIN=$PWD/$binary
[[ $binary = /* ]] && SSM_READY_IMAGE_BIN=$binary
trap 'rm -rf "$(dirname "$SSM_READY_IMAGE_BIN")/roots"' EXIT
version=$(image/in-empty-root.sh --version)
crds=$(image/in-empty-root.sh crds | grep -c '^kind: CustomResourceDefinition')
expected=$(find crds -name '*.yaml' | wc -l)
[[ $crds == "$expected" ]] || fail "it prints $crds definitions, not $expected"

# 3. It does its work alone, on a real API server and the stand-in for AWS, and stops when told.
# The harness passes no variables on but its own.
run=$(dirname "$SSM_READY_IMAGE_BIN")/run-in-empty-root
printf '#!/bin/sh\nSSM_READY_IMAGE_BIN="%s" exec "%s/image/in-empty-root.sh" "$@"\n' "$SSM_READY_IMAGE_BIN" "$root" >"$run"
chmod +x "$run"
SSM_READY_BIN=$run cargo test --workspace --test e2e -- converge:: >&2 || fail "it does not do its work in an empty root"

# 4. What it is made of.
sbom=$(image/sbom.sh "$arch" | tail -n 1)
parts=$(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["components"]))' "$sbom")
[[ $parts -gt 100 ]] || fail "$sbom lists $parts parts only"

# 5. The same again from another folder, where asked: it takes as long as the first build.
if [[ ${REPRODUCE:-} == 1 ]]; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy" "$(dirname "$SSM_READY_IMAGE_BIN")/roots"' EXIT
  git archive HEAD | tar -x -C "$copy"
  again=$(cd "$copy" && CARGO_TARGET_DIR=$copy/target image/build.sh "$arch" | tail -n 1)
  cmp "$binary" "$again" || fail "another build of the same sources is another binary"
  echo "image: built twice, in two folders: the same, byte for byte"
fi

printf 'image: %s (%s), static, %s bytes; %s definitions; runs in an empty root; made of %s parts (%s); sha256 %s\n' \
  "$version" "$arch" "$size" "$crds" "$parts" "$sbom" "$(sha256sum "$binary" | cut -d ' ' -f 1)"
