{{/* What several templates say in the same words. */}}

{{- define "azuredisk.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* list . image: the reference of an image, and when it is pulled. */}}
{{- define "azuredisk.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 -}}
image: {{ hasPrefix "/" $image.repository | ternary $root.Values.image.baseRepo "" }}{{ $image.repository }}:{{ $image.tag }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end }}

{{/* A container that needs nothing of its machine. */}}
{{- define "azuredisk.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* list user: the pod that such containers are in. */}}
{{- define "azuredisk.podSecurity" -}}
{{- $user := index . 0 -}}
runAsNonRoot: {{ ne $user 0 }}
runAsUser: {{ $user }}
runAsGroup: {{ $user }}
fsGroup: {{ $user }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* A role of the driver: asks the program itself, which asks its own socket, where it listens. */}}
{{- define "azuredisk.probes" -}}
{{- $probe := .livenessProbe }}
{{- $ask := dict "path" "/healthz" "port" (int .metricsPort) }}
{{- if not (has .metricsHost (list "" "0.0.0.0" "[::]")) }}{{ $_ := set $ask "host" (trimAll "[]" .metricsHost) }}{{ end -}}
livenessProbe:
  httpGet: {{ toJson $ask }}
  periodSeconds: {{ $probe.periodSeconds }}
  timeoutSeconds: {{ $probe.timeoutSeconds }}
  failureThreshold: {{ $probe.failureThreshold }}
readinessProbe:
  httpGet: {{ toJson $ask }}
  periodSeconds: 5
  timeoutSeconds: {{ $probe.timeoutSeconds }}
{{- end }}

{{/* list . role: flags of both roles of the driver; less grace than the pod has, so that it can say what it leaves. */}}
{{- define "azuredisk.driverArgs" -}}
{{- $root := index . 0 }}{{ $role := index . 1 -}}
- --endpoint=unix:///csi/csi.sock
- --drivername={{ $root.Values.driver.name }}
- --metrics-address={{ $role.metricsHost }}:{{ $role.metricsPort }}
- --log-format={{ $role.logFormat }}
- --v={{ $role.logLevel }}
- --drain-seconds={{ max 1 (sub (int $role.terminationGracePeriodSeconds) 5) }}
{{- end }}

{{/* How requests leave the cluster. */}}
{{- define "azuredisk.proxy" -}}
{{- range $name, $value := dict "HTTPS_PROXY" .Values.driver.httpsProxy "HTTP_PROXY" .Values.driver.httpProxy "NO_PROXY" .Values.driver.noProxy }}
{{- with $value }}
- {name: {{ $name }}, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Two of them on two machines, if there are two. */}}
{{- define "azuredisk.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector: {matchLabels: {app: {{ . }}}}
{{- end }}

{{/* list . own: the nodes that controllers run on. */}}
{{- define "azuredisk.nodeSelector" -}}
{{- $root := index . 0 -}}
kubernetes.io/os: linux
{{- if $root.Values.controller.runOnControlPlane }}
node-role.kubernetes.io/control-plane: ""
{{- end }}
{{- if $root.Values.controller.runOnMaster }}
node-role.kubernetes.io/master: ""
{{- end }}
{{- with index . 1 }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* list . purpose kind: the head of a role or a binding. */}}
{{- define "azuredisk.roleHead" -}}
{{- $root := index . 0 -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ index . 2 }}
metadata:
  name: {{ $root.Values.rbac.name }}-{{ index . 1 }}
  {{- if hasPrefix "Role" (index . 2) }}
  namespace: {{ $root.Release.Namespace }}
  {{- end }}
  labels: {{- include "azuredisk.labels" $root | nindent 4 }}
{{- end }}

{{/* list . purpose account: gives the cluster role of that purpose to the account. */}}
{{- define "azuredisk.clusterBinding" -}}
{{- $root := index . 0 -}}
{{ include "azuredisk.roleHead" (list $root (index . 1) "ClusterRoleBinding") }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $root.Values.rbac.name }}-{{ index . 1 }}}
subjects:
  - {kind: ServiceAccount, name: {{ index . 2 }}, namespace: {{ $root.Release.Namespace }}}
{{- end }}

{{/* list . purpose account leases: leader election by those leases and no others, in the release's namespace. */}}
{{- define "azuredisk.leases" -}}
{{- $root := index . 0 -}}
{{ include "azuredisk.roleHead" (list $root (index . 1) "Role") }}
rules:
  # A name can't be asked for before the object exists, so making one is not bound to a name.
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, update], resourceNames: {{ index . 3 | toJson }}}
---
{{ include "azuredisk.roleHead" (list $root (index . 1) "RoleBinding") }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $root.Values.rbac.name }}-{{ index . 1 }}}
subjects:
  - {kind: ServiceAccount, name: {{ index . 2 }}, namespace: {{ $root.Release.Namespace }}}
{{- end }}

{{/* What Kubernetes itself would mount into every container of the pod. */}}
{{- define "azuredisk.apiAccess" -}}
- name: api-access
  projected:
    defaultMode: 288 # 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
{{- end }}
