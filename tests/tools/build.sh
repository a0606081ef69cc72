#!/usr/bin/env bash
# Builds kube-apiserver and etcd from their Go modules, once per version and user, and prints the folder that holds
# them as the last line of stdout. Progress goes to stderr. With KUBEBUILDER_ASSETS set, that folder is taken as it is.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
started=$SECONDS

say() { printf 'tools: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  for binary in kube-apiserver etcd; do
    [[ -x $KUBEBUILDER_ASSETS/$binary ]] || fail "KUBEBUILDER_ASSETS is set, but $KUBEBUILDER_ASSETS/$binary is no executable"
  done
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

# The version that a go.mod requires of a module, without the leading "v".
version_of() {
  sed -nE "s|^(require)?[[:space:]]*$2 v([^[:space:]]+).*|\2|p" "$here/$1/go.mod" | head -n 1
}

kubernetes=$(version_of kubernetes k8s.io/kubernetes)
etcd=$(version_of etcd go.etcd.io/etcd/server/v3)
[[ -n $kubernetes && -n $etcd ]] || fail "no version of Kubernetes or etcd found in the go.mod files of $here"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/ssm-ready
target=$cache/kubernetes-$kubernetes-etcd-$etcd
complete() { [[ -x $target/bin/kube-apiserver && -x $target/bin/etcd ]]; }

if ! complete; then
  command -v go >/dev/null || fail "go is needed to build kube-apiserver and etcd; install it or set KUBEBUILDER_ASSETS"
  mkdir -p "$cache"
  if command -v flock >/dev/null; then
    exec 9>"$target.lock"
    flock --nonblock 9 || {
      say "another build of kube-apiserver and etcd is running; waiting for it"
      flock 9
    }
  fi
fi

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

  # build <module folder> <package> <binary> <linker flags>
  build() {
    local log=$building/$3.log total done_
    say "$3: fetching modules"
    (cd "$here/$1" && total=$(go list -deps "$2" | wc -l) && echo "$total" >"$building/total") || fail "$3: its modules could not be fetched"
    total=$(cat "$building/total")
    say "$3: compiling up to $total packages"
    : >"$log"
    (
      # A wait without a child of its own, which would outlive us and hold our outputs open.
      exec {silent}<> <(:)
      while ! read -rt 10 -u "$silent"; do
        done_=$(wc -l <"$log")
        if ((done_ >= total - 2)); then state=linking; else state="$done_ of up to $total packages"; fi
        say "$3: $state, $((SECONDS - started)) s"
      done
    ) 9>&- &
    ticker=$!
    (cd "$here/$1" && go build -v -trimpath -ldflags "-s -w $4" -o "$building/bin/$3" "$2") >"$log" 2>&1 9>&- || {
      grep -v -E '^[a-z0-9./_-]+$' "$log" >&2 || tail -n 20 "$log" >&2
      fail "$3: go build failed"
    }
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ticker=
    say "$3: built, $((SECONDS - started)) s"
  }

  say "building kube-apiserver $kubernetes and etcd $etcd: about 7 minutes on two cores, once"
  build etcd go.etcd.io/etcd/server/v3 etcd ""
  IFS=. read -r major minor _ <<<"$kubernetes"
  flags=
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=v$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
    flags+=" -X $package.gitTreeState=clean"
  done
  build kubernetes k8s.io/kubernetes/cmd/kube-apiserver kube-apiserver "$flags"

  mkdir -p "$building/out"
  mv "$building/bin" "$building/out/bin"
  rm -rf "$target"
  mv "$building/out" "$target"
  say "done in $((SECONDS - started)) s: $target/bin"
fi

echo "$target/bin"
