#!/usr/bin/env bash
# Runs the image's binary as the image does: in a root that holds nothing but it and the CA certificates, and, as a
# kubelet adds them, the files of the network and of the API server's credentials.
# Usage: SSM_READY_IMAGE_BIN=<binary> image/in-empty-root.sh <arguments of ssm-ready>
set -euo pipefail

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/etc/ssl/certs"
cp "${SSM_READY_IMAGE_BIN:?}" "$root/ssm-ready"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
for file in /etc/hosts /etc/resolv.conf; do [[ ! -e $file ]] || cp "$file" "$root$file"; done
if [[ -n ${KUBECONFIG:-} ]]; then
  mkdir -p "$root$(dirname "$KUBECONFIG")"
  cp "$KUBECONFIG" "$root$KUBECONFIG"
fi
# Forwarding signals needs a process that stays; the root goes when the binary has ended.
unshare --map-root-user chroot "$root" /ssm-ready "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || true' TERM INT
status=0
while :; do
  wait "$child" && status=0 || status=$?
  kill -0 "$child" 2>/dev/null || break
done
exit "$status"
