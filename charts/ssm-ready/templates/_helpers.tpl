{{- define "ssm-ready.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 47 characters, so that what is appended ("-metrics-reader", the longest) still fits into 63. */}}
{{- define "ssm-ready.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 47 | trimSuffix "-" }}
{{- else }}
{{- $name := include "ssm-ready.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 47 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 47 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of cluster-scoped objects: with the namespace that is watched, so that each namespace can have its own release. */}}
{{- define "ssm-ready.clusterName" -}}
{{- $name := include "ssm-ready.fullname" . }}
{{- if .Values.watchNamespace }}{{ printf "%s.%s" $name .Values.watchNamespace }}{{ else }}{{ $name }}{{ end }}
{{- end }}

{{- define "ssm-ready.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* Service account: the one that is made, or one that is there. */}}
{{- define "ssm-ready.serviceAccountName" -}}
{{- default (ternary "ssm-ready" "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "ssm-ready.leaseName" -}}
{{- default (include "ssm-ready.fullname" .) .Values.leaderElection.id }}
{{- end }}

{{/* What selects the pods; never anything that changes from version to version. */}}
{{- define "ssm-ready.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ssm-ready.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ssm-ready.labelsWithoutSelector" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: ssm-ready
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ssm-ready.labels" -}}
{{ include "ssm-ready.selectorLabels" . }}
app.kubernetes.io/component: controller
{{ include "ssm-ready.labelsWithoutSelector" . }}
{{- end }}

{{/* metadata of an object in the release's namespace: (dict "root" $ "suffix" "-metrics" "labels" … "annotations" …) */}}
{{- define "ssm-ready.metadata" -}}
name: {{ include "ssm-ready.fullname" .root }}{{ .suffix }}
namespace: {{ include "ssm-ready.namespace" .root }}
labels:
  {{- $own := include "ssm-ready.labels" .root | fromYaml }}
  {{- merge $own (default dict .labels) | toYaml | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* registry/repository:tag@digest: (dict "image" … "tag" …) */}}
{{- define "ssm-ready.image" -}}
{{- with .image.registry }}{{ . }}/{{ end }}{{ .image.repository }}:{{ default .tag .image.tag }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* A security context, without ids on OpenShift: (dict "root" $ "context" …) */}}
{{- define "ssm-ready.securityContext" -}}
{{- if .root.Values.openshift }}
{{- omit .context "runAsUser" "runAsGroup" "fsGroup" | toYaml }}
{{- else }}
{{- toYaml .context }}
{{- end }}
{{- end }}

{{/* The containers' variables: name and value. Everything is said by variables, so that a binary of another version
     does not stumble over a flag. Numbers are float64 here, which would print large ones with an exponent. */}}
{{- define "ssm-ready.env" -}}
{{- $v := .Values }}
{{- $env := list
  (list "SSM_READY_CLUSTER_ID" $v.clusterId)
  (list "SSM_READY_MODE" $v.mode)
  (list "SSM_READY_MAX_CREATES_PER_HOUR" (int64 $v.brake.maxCreatesPerHour))
  (list "SSM_READY_MAX_DELETES_PER_HOUR" (int64 $v.brake.maxDeletesPerHour))
  (list "SSM_READY_CONCURRENT" (int64 $v.concurrent))
  (list "SSM_READY_INTERVAL_JITTER_PERCENT" (int64 $v.intervalJitterPercent))
  (list "SSM_READY_SHUTDOWN_GRACE" (int64 $v.shutdownGrace))
  (list "SSM_READY_LOG_LEVEL" $v.log.level)
  (list "SSM_READY_LOG_FORMAT" $v.log.format)
  (list "SSM_READY_HEALTH_BIND_ADDRESS" (printf ":%d" (int64 $v.health.port)))
  (list "SSM_READY_LEADER_ELECT" $v.leaderElection.enabled)
}}
{{- if $v.watchNamespace }}
{{- $env = append $env (list "SSM_READY_WATCH_NAMESPACE" $v.watchNamespace) }}
{{- end }}
{{- if $v.leaderElection.enabled }}
{{- $env = concat $env (list
  (list "SSM_READY_LEADER_ELECTION_ID" (include "ssm-ready.leaseName" .))
  (list "SSM_READY_LEADER_ELECTION_NAMESPACE" (include "ssm-ready.namespace" .))
  (list "SSM_READY_LEADER_ELECTION_LEASE_DURATION" (int64 $v.leaderElection.leaseDuration))
  (list "SSM_READY_LEADER_ELECTION_RENEW_DEADLINE" (int64 $v.leaderElection.renewDeadline))
  (list "SSM_READY_LEADER_ELECTION_RETRY_PERIOD" (int64 $v.leaderElection.retryPeriod))
) }}
{{- end }}
{{- if $v.metrics.enabled }}
{{- $env = concat $env (list
  (list "SSM_READY_METRICS_BIND_ADDRESS" (printf ":%d" (int64 $v.metrics.port)))
  (list "SSM_READY_METRICS_SECURE" $v.metrics.secure)
) }}
{{- if and $v.metrics.secure $v.metrics.certSecret }}
{{- $env = append $env (list "SSM_READY_METRICS_CERT_DIR" "/metrics-certs") }}
{{- end }}
{{- else }}
{{- $env = append $env (list "SSM_READY_METRICS_BIND_ADDRESS" "0") }}
{{- end }}
{{- with $v.aws.region }}
{{- $env = append $env (list "AWS_REGION" .) }}
{{- end }}
{{- with $v.aws.endpointUrl }}
{{- $env = append $env (list "AWS_ENDPOINT_URL" .) }}
{{- end }}
{{- if $v.aws.useFipsEndpoint }}
{{- $env = append $env (list "AWS_USE_FIPS_ENDPOINT" "true") }}
{{- end }}
{{- if $v.aws.useDualStackEndpoint }}
{{- $env = append $env (list "AWS_USE_DUALSTACK_ENDPOINT" "true") }}
{{- end }}
{{- range $env }}
- name: {{ first . }}
  value: {{ last . | toString | quote }}
{{- end }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}

{{/* What the schema of the values cannot say. */}}
{{- define "ssm-ready.validate" -}}
{{- $v := .Values }}
{{- if not $v.clusterId }}
{{- fail "\n\nclusterId is missing: the name of this cluster, unique among those that work in the same AWS accounts.\nIt goes into the ownership tags in AWS and has to survive a rebuilt cluster, for instance:\n\n  --set clusterId=prod-eu-1\n" }}
{{- end }}
{{- if le (int $v.terminationGracePeriodSeconds) (int $v.shutdownGrace) }}
{{- fail (printf "terminationGracePeriodSeconds (%d) has to be more than shutdownGrace (%d), else pods are killed at work" (int $v.terminationGracePeriodSeconds) (int $v.shutdownGrace)) }}
{{- end }}
{{- if and (gt (int $v.replicas) 1) (not $v.leaderElection.enabled) }}
{{- fail "replicas is more than 1, which needs leaderElection.enabled: two that work at once would fight" }}
{{- end }}
{{- with $v.leaderElection }}
{{- if not (and (lt (int .renewDeadline) (int .leaseDuration)) (le (mul 2 .retryPeriod) (int64 .renewDeadline))) }}
{{- fail (printf "leaderElection: retryPeriod (%d) has to be at most half of renewDeadline (%d), and that less than leaseDuration (%d)" (int .retryPeriod) (int .renewDeadline) (int .leaseDuration)) }}
{{- end }}
{{- end }}
{{- if and $v.metrics.enabled (eq (int $v.metrics.port) (int $v.health.port)) }}
{{- fail (printf "metrics.port and health.port are both %d" (int $v.health.port)) }}
{{- end }}
{{- if and (not $v.metrics.enabled) $v.serviceMonitor.enabled }}
{{- fail "serviceMonitor.enabled needs metrics.enabled" }}
{{- end }}
{{- end }}

{{/* Binds a role of the controller to its service account: (dict "root" $ "kind" … "name" … "namespace" …) */}}
{{- define "ssm-ready.binding" }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "ssm-ready.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "ssm-ready.serviceAccountName" .root }}
    namespace: {{ include "ssm-ready.namespace" .root }}
{{- end }}

{{/* Labels of the pods of "helm test": other ones than the selector's, else the Service would lead to them. */}}
{{- define "ssm-ready.testLabels" -}}
app.kubernetes.io/name: {{ include "ssm-ready.name" . | trunc 58 }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A pod of "helm test" that runs a script: (dict "root" $ "suffix" "-test-probes" "script" …) */}}
{{- define "ssm-ready.testPod" -}}
{{- $v := .root.Values }}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "ssm-ready.fullname" .root }}{{ .suffix }}
  namespace: {{ include "ssm-ready.namespace" .root }}
  labels:
    {{- include "ssm-ready.testLabels" .root | nindent 4 }}
    app.kubernetes.io/component: test
    {{- include "ssm-ready.labelsWithoutSelector" .root | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext:
    {{- include "ssm-ready.securityContext" (dict "root" .root "context" $v.podSecurityContext) | nindent 4 }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: test
      image: {{ include "ssm-ready.image" (dict "image" $v.tests.image "tag" "latest") | quote }}
      command: [sh, -euc]
      args:
        - |
          {{- .script | nindent 10 }}
      securityContext:
        {{- include "ssm-ready.securityContext" (dict "root" .root "context" $v.securityContext) | nindent 8 }}
{{- end }}
