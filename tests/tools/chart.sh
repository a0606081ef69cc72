#!/usr/bin/env bash
# Builds what the chart is tested with (Helm 3 and 4, helm-unittest, helm-docs, kubeconform) from their Go modules, once
# per set of versions and user, and prints the folder that holds them as the last line of stdout. Progress goes to
# stderr. Each is a module of its own: their dependencies do not agree.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
started=$SECONDS
tools=(kubeconform helm-docs helm-unittest helm4 helm3)

say() { printf 'chart tools: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

versions=$(cd "$here" && cat "${BASH_SOURCE[0]##*/}" "${tools[@]/%//go.mod}" "${tools[@]/%//go.sum}" | sha256sum)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ssm-ready
target=$cache/chart-${versions:0:12}

complete() { [[ -x $target/bin/helm3 ]]; }

if ! complete; then
  command -v go >/dev/null || fail "go is needed to build Helm; install it"
  mkdir -p "$cache"
  if command -v flock >/dev/null; then
    exec 9>"$target.lock"
    flock --nonblock 9 || {
      say "another build is running; waiting for it"
      flock 9
    }
  fi
fi

# The version of a module in a tool's go.mod.
version_of() {
  sed -nE "s|^(require)?[[:space:]]*$2 (v[^[:space:]]+).*|\2|p" "$here/$1/go.mod" | head -n 1
}

# The Kubernetes that Helm 3 renders for by itself: that of the libraries that it is built with.
minor_of() {
  local minor
  IFS=. read -r _ minor _ <<<"$(version_of "$1" k8s.io/client-go)"
  echo "$minor"
}

if ! complete; then
  # Left by a build that was killed; nobody else can be using it while we hold the lock.
  rm -rf "$target".building.*
  building=$(mktemp -d "$target.building.XXXXXX")
  ticker=
  cleanup() {
    [[ -z $ticker ]] || kill "$ticker" 2>/dev/null || true
    rm -rf "$building"
  }
  trap cleanup EXIT
  trap 'exit 130' INT TERM
  mkdir "$building/bin"

  export CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly GOTOOLCHAIN="${GOTOOLCHAIN:-local}"
  unset GOOS GOARCH

  # build <tool> <linker flags>
  build() {
    local log=$building/$1.log package total done_
    package=$(sed -nE 's/^tool (.+)/\1/p' "$here/$1/go.mod")
    say "$1: fetching modules"
    total=$(cd "$here/$1" && go list -deps "$package" | wc -l) || fail "$1: its modules could not be fetched"
    say "$1: compiling up to $total packages"
    : >"$log"
    (
      # A wait without a child of its own, which would outlive us and hold our outputs open.
      exec {silent}<> <(:)
      while ! read -rt 10 -u "$silent"; do
        done_=$(wc -l <"$log")
        say "$1: $done_ of up to $total packages, $((SECONDS - started)) s"
      done
    ) 9>&- &
    ticker=$!
    (cd "$here/$1" && go build -v -trimpath -ldflags "-s -w $2" -o "$building/bin/$1" "$package") >"$log" 2>&1 9>&- || {
      grep -v -E '^[a-z0-9./_-]+$' "$log" >&2 || tail -n 20 "$log" >&2
      fail "$1: go build failed"
    }
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ticker=
    say "$1: built, $((SECONDS - started)) s"
  }

  say "building ${tools[*]}: about 6 minutes on two cores, once"
  build kubeconform ""
  build helm-docs ""
  minor=$(minor_of helm-unittest)
  build helm-unittest "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=$minor"
  helm4=$(version_of helm4 helm.sh/helm/v4)
  build helm4 "-X helm.sh/helm/v4/internal/version.version=$helm4 -X helm.sh/helm/v4/internal/version.gitTreeState=clean"
  helm3=$(version_of helm3 helm.sh/helm/v3)
  minor=$(minor_of helm3)
  flags="-X helm.sh/helm/v3/internal/version.version=$helm3 -X helm.sh/helm/v3/internal/version.gitTreeState=clean"
  for package in pkg/chartutil pkg/lint/rules; do
    flags+=" -X helm.sh/helm/v3/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/$package.k8sVersionMinor=$minor"
  done
  build helm3 "$flags"

  rm -rf "$target"
  mkdir -p "$building/out"
  mv "$building/bin" "$building/out/bin"
  mv "$building/out" "$target"
  say "done in $((SECONDS - started)) s: $target/bin"
fi

echo "$target/bin"
