#!/usr/bin/env bash
# Checks the chart without a cluster: lint, unit tests, renderings by Helm 3 and 4 for the oldest and the newest
# Kubernetes, what the schema of the values refuses, and what is made from the chart (its README, the permissions of the
# harness). With UPDATE_CHART=1 the latter, and the snapshots of the unit tests, are written anew.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=$(tests/tools/chart.sh)
chart=charts/ssm-ready
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Nothing of this user's Helm has a say.
export HELM_CONFIG_HOME=$scratch/config HELM_CACHE_HOME=$scratch/cache HELM_DATA_HOME=$scratch/data KUBECONFIG=/dev/null
update=${UPDATE_CHART:-}

say() { printf 'chart: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

# helm <3 or 4> <arguments>: its output, and on failure all that it said.
helm() {
  local major=$1
  shift
  "$tools/helm$major" "$@" 2>"$scratch/errors" || fail "helm $major: $* failed: $(cat "$scratch/errors")"
}

values=(tests/chart/values/*.yaml)

say "lint and unit tests"
for file in "${values[@]}"; do
  for major in 3 4; do helm "$major" lint --strict --quiet "$chart" --values "$file"; done
done
"$tools/helm-unittest" --strict ${update:+--update-snapshot} --file '../../tests/chart/unit/*_test.yaml' "$chart" \
  >"$scratch/unit" 2>&1 || fail "$(cat "$scratch/unit")"
grep -E '^(Tests|Snapshot):' "$scratch/unit" >&2

# fresh <file> <text>: that a file is what is made from the chart.
fresh() {
  [[ -z $update ]] || printf '%s\n' "$2" >"$1"
  [[ $(cat "$1" 2>/dev/null) == "$2" ]] || fail "$1 is not up to date: UPDATE_CHART=1 make chart"
}
fresh "$chart/README.md" "$("$tools/helm-docs" --chart-search-root "$chart" --dry-run --log-level warning)"
permissions=$(helm 4 template ssm-ready "$chart" --namespace ssm-ready --set clusterId=test,metrics.secure=true \
  --show-only templates/serviceaccount.yaml --show-only templates/rbac.yaml --show-only templates/rbac-people.yaml)
fresh tests/fixtures/rbac.yaml "# The permissions of the chart, rendered by \`UPDATE_CHART=1 make chart\`.
$permissions"

oldest=$(sed -nE 's/^kubeVersion: ">=(.*)-0"$/\1/p' "$chart/Chart.yaml")
[[ -n $oldest ]] || fail "no oldest Kubernetes found in $chart/Chart.yaml"
say "renderings for Kubernetes $oldest and the newest that Helm knows"
for file in "${values[@]}"; do
  for version in "$oldest" newest; do
    for major in 3 4; do
      kube=()
      [[ $version == newest ]] || kube=(--kube-version "$version")
      helm "$major" template ssm-ready "$chart" --namespace ssm-ready --values "$file" "${kube[@]}" |
        sed 's/[[:space:]]*$//; /^$/d' >"$scratch/$version.$major.yaml"
    done
  done
  # Neither the Helm nor the Kubernetes nor the time makes a difference, empty lines aside.
  for other in "$oldest.4" newest.3 newest.4; do
    diff "$scratch/$oldest.3.yaml" "$scratch/$other.yaml" >"$scratch/difference" ||
      fail "$file is rendered in two ways: $(head -n 20 "$scratch/difference")"
  done
  # Kinds of the operator of Prometheus; those of Kubernetes are given to an API server by another test.
  "$tools/kubeconform" -strict -ignore-missing-schemas -summary \
    -schema-location 'tests/chart/schemas/{{ .ResourceKind }}.json' "$scratch/newest.4.yaml" >"$scratch/conform" ||
    fail "$file: $(cat "$scratch/conform")"
  wanted=$(grep -cE '^kind: (ServiceMonitor|PrometheusRule)$' "$scratch/newest.4.yaml") || true
  grep -q "Valid: $wanted," "$scratch/conform" || fail "$file: not all were looked at: $(cat "$scratch/conform")"
done
IFS=. read -r _ minor _ <<<"$oldest"

# refused <words of the refusal> <arguments>: that both Helms refuse to render.
refused() {
  local words=$1
  shift
  for major in 3 4; do
    if "$tools/helm$major" template ssm-ready "$chart" "$@" >/dev/null 2>"$scratch/errors"; then
      fail "helm $major rendered with $*"
    fi
    grep -qF -- "$words" "$scratch/errors" || fail "helm $major refused $* otherwise: $(cat "$scratch/errors")"
  done
}
say "what is refused"
refused "clusterId is missing"
refused "/clusterId" --set clusterId=Prod_1
refused "incompatible with Kubernetes" --set clusterId=test --kube-version "1.$((minor - 1)).0"
given=(--set "clusterId=test")
for bad in replica=2 mode=Delete concurrent=0 replicas=two log.format=xml image.digest=latest metrics.port=70000 \
  leaderElection.leaseDuration=35s watchNamespace=a.b crds.annotations=text resources.request.cpu=1 \
  serviceMonitor.interval=often; do
  refused "${bad%%[.=]*}" "${given[@]}" --set "$bad"
done
helm 4 template ssm-ready "$chart" "${given[@]}" --set global.anything.at=all >/dev/null

python3 - "$chart/files/dashboard.json" <<'PY'
import json, sys
json.load(open(sys.argv[1]))
PY
say "good"
