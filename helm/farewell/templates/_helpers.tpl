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
{{- range $name, $receiver := .Values.coordinator.events.receivers -}}
{{- if $receiver.poll -}}
{{- $_ := set $ports "events" 7403 -}}
{{- end -}}
{{- end -}}
{{- $roles := dict "coordinator" (dict "args" (list "coordinator") "section" "coordinator" "ports" $ports "values" .Values.coordinator) -}}
{{- range $name, $values := .Values.services -}}
{{- if $values.enabled -}}
{{- $ports := eq $name "support" | ternary (dict "desk" 7420) dict -}}
{{- $_ := set $roles $name (dict "args" (list "service" $name) "section" (printf "service.%s" $name) "ports" $ports "values" $values) -}}
{{- end -}}
{{- end -}}
{{- range $name, $values := .Values.agents -}}
{{- if $values.enabled -}}
{{- $ports := dict "devices" (get (dict "phones" 7410 "wearables" 7411 "smarthome" 7412) $name) -}}
{{- $_ := set $roles $name (dict "args" (list "agent" $name) "section" (printf "agent.%s" $name) "ports" $ports "values" $values) -}}
{{- end -}}
{{- end -}}
{{- range $name, $role := $roles -}}
{{/* A volume of the pod's own: for SQLite, and for the cloud's photos unless they lie on a claim that pods share. */}}
{{- $photos := and (hasKey $role.values "files") (not ($role.values.files | default dict).existingClaim) -}}
{{- $_ := set $role "disk" (or (not $role.values.database.existingSecret) $photos) -}}
{{- end -}}
{{- $roles | toJson -}}
{{- end -}}

{{/* Not empty if these values of coordinators have requests passed on to another region. */}}
{{- define "farewell.forwards" -}}
{{- range $name, $cell := .regions -}}
{{- if $cell.forward -}}
{{ $name }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
A role's variables from secrets, as JSON: {root, name, role}. Each is the key of the configuration file in its long form,
FAREWELL_SECTION__KEY: a slip in one of those is an error at the start, in the short form it would be ignored.
*/}}
{{- define "farewell.secrets" -}}
{{- $fullname := include "farewell.fullname" .root -}}
{{- $values := .role.values -}}
{{- $list := list -}}
{{- with $values.database.existingSecret -}}
{{- $list = append $list (dict "path" (eq $.name "coordinator" | ternary "ledger" "database") "secret" . "key" $values.database.key) -}}
{{- end -}}
{{- with $values.broker -}}
{{- $secret := default (printf "%s-%s-broker" $fullname $.name) .existingSecret -}}
{{- range $key := list "url" "username" "password" -}}
{{- $list = append $list (dict "path" (printf "broker.%s" $key) "secret" $secret "key" $key) -}}
{{- end -}}
{{- end -}}
{{- if eq .name "identity" -}}
{{- $secret := default (printf "%s-%s" $fullname .name) $values.existingSecret -}}
{{- $list = append $list (dict "path" "pepper" "secret" $secret "key" "pepper") -}}
{{- range $channel, $route := $values.courier -}}
{{- if ne $route.kind "file" -}}
{{- $list = append $list (dict "path" (printf "courier.%s.url" $channel) "secret" $secret "key" (printf "%s-url" $channel)) -}}
{{- end -}}
{{- if eq $route.kind "webhook" -}}
{{- $list = append $list (dict "path" (printf "courier.%s.token" $channel) "secret" $secret "key" (printf "%s-token" $channel) "optional" true) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq .name "cloud" -}}
{{- $list = append $list (dict "path" "exports.keys" "secret" (default (printf "%s-%s" $fullname .name) $values.existingSecret) "key" "keys") -}}
{{- end -}}
{{- if eq .name "support" -}}
{{- $list = append $list (dict "path" "keys" "secret" (default (printf "%s-%s" $fullname .name) $values.existingSecret) "key" "keys") -}}
{{- end -}}
{{- $list | toJson -}}
{{- end -}}
