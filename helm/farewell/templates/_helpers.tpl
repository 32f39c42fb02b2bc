{{- define "farewell.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What never changes during a release's life: selectors may hold nothing else. */}}
{{- define "farewell.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "farewell.labels" -}}
{{ include "farewell.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: farewell
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
Every role that is switched on, as JSON: what to run, the section of the configuration that it reads, its ports, and its
values. All templates range over this, so that no role is forgotten in one of them.
*/}}
{{- define "farewell.roles" -}}
{{- $ports := dict "callers" 7400 "participants" 7401 "operators" 7402 -}}
{{- $roles := dict "coordinator" (dict "args" (list "coordinator") "section" "coordinator" "ports" $ports "values" .Values.coordinator) -}}
{{- range $name, $values := .Values.services -}}
{{- if $values.enabled -}}
{{- $_ := set $roles $name (dict "args" (list "service" $name) "section" (printf "service.%s" $name) "ports" dict "values" $values) -}}
{{- end -}}
{{- end -}}
{{- range $name, $values := .Values.agents -}}
{{- if $values.enabled -}}
{{- $ports := dict "devices" 7410 -}}
{{- if and (hasKey $values "broker") (not $values.broker.existingSecret) -}}
{{- $_ := set $ports "mqtt" 8883 -}}
{{- end -}}
{{- $_ := set $roles $name (dict "args" (list "agent" $name) "section" (printf "agent.%s" $name) "ports" $ports "values" $values) -}}
{{- end -}}
{{- end -}}
{{- range $name, $role := $roles -}}
{{- if and (gt (int $role.values.replicas) 1) (not $role.values.database.existingSecret) -}}
{{- fail (printf "%s: %d replicas need database.existingSecret, because SQLite is one pod's own" $name (int $role.values.replicas)) -}}
{{- end -}}
{{/* On disk is what SQLite and the embedded broker keep. */}}
{{- $_ := set $role "disk" (or (not $role.values.database.existingSecret) (hasKey $role.ports "mqtt")) -}}
{{- end -}}
{{- $roles | toJson -}}
{{- end -}}
