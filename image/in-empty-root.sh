#!/usr/bin/env bash
# Runs the image's binary as the image does: in a root that holds nothing but it and the CA certificates, and, as a
# kubelet adds them, the files of the network and of the API server's credentials. The process becomes the binary, so
# that signals reach it; its root stays, in the folder "roots" beside the binary.
# Usage: SSM_READY_IMAGE_BIN=<binary> image/in-empty-root.sh <arguments of ssm-ready>
set -euo pipefail

binary=${SSM_READY_IMAGE_BIN:?}
root=$(dirname "$binary")/roots/$$
rm -rf "$root"
mkdir -p "$root/etc/ssl/certs"
ln "$binary" "$root/ssm-ready"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
for file in /etc/hosts /etc/resolv.conf; do [[ ! -e $file ]] || cp "$file" "$root$file"; done
if [[ -n ${KUBECONFIG:-} ]]; then
  mkdir -p "$root$(dirname "$KUBECONFIG")"
  # With the certificates that it names as files.
  kubectl config view --raw --flatten >"$root$KUBECONFIG"
fi
exec unshare --map-root-user chroot "$root" /ssm-ready "$@"
