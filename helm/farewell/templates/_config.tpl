{{/*
The configuration file of one role: {root, name, role}. What is secret is not in it; it comes in variables, which win.
*/}}
{{- define "farewell.config" -}}
{{- $fullname := include "farewell.fullname" .root -}}
{{- $role := .role -}}
{{- $values := $role.values -}}
[{{ $role.section }}]
drain = "{{ .root.Values.drainSeconds }}s"
{{- if not $values.database.existingSecret }}
{{ .name | eq "coordinator" | ternary "ledger" "database" }} = "sqlite:/var/lib/farewell/{{ .name }}.db"
{{- end }}
{{- if ne .name "coordinator" }}
{{- $domain := printf "%s-coordinator-peers.%s.svc.%s" $fullname .root.Release.Namespace .root.Values.clusterDomain }}
coordinators = [
{{- range $i := until (int .root.Values.coordinator.replicas) }}
  "{{ $fullname }}-coordinator-{{ $i }}.{{ $domain }}:7401",
{{- end }}
]
{{- end }}
{{- with $values.files }}
files = "{{ empty .existingClaim | ternary "/var/lib/farewell/files" "/var/lib/farewell-files" }}"
{{- end }}

[{{ $role.section }}.tls]
dir = "/etc/farewell-tls"
name = "{{ .name }}"
{{- with $role.ports }}

[{{ $role.section }}.listen]
{{- range $port, $number := . }}
{{ $port }} = "0.0.0.0:{{ $number }}"
{{- end }}
{{- end }}
{{- if $values.orders }}

[{{ $role.section }}.orders]
key = "/etc/farewell-orders/orders.key"
{{- end }}
{{- with $values.region }}
{{- if .name }}

[{{ $role.section }}.region]
name = {{ .name | quote }}
{{- if include "farewell.forwards" $values }}
tls.dir = "/etc/farewell-cell"
{{- end }}
{{- end }}
{{- end }}
{{- with $values.regions }}

{{- /* The role's own section is open already. */}}
{{ dict $role.section (dict "regions" .) | toToml | trimPrefix (printf "[%s]" $role.section) | trim }}
{{- end }}
{{- with $values.events }}
{{- if .receivers }}

{{- /* The role's own section is open already. */}}
{{ dict $role.section (dict "events" (dict "issuer" .issuer "key" "/etc/farewell-events/events.key" "receivers" .receivers)) | toToml | trimPrefix (printf "[%s]" $role.section) | trim }}
{{- end }}
{{- end }}
{{- with $values.policy }}

{{- /* The role's own section is open already. */}}
{{ dict $role.section (dict "policy" .) | toToml | trimPrefix (printf "[%s]" $role.section) | trim }}
{{- end }}
{{- with $values.broker }}

[{{ $role.section }}.broker]
protocol = {{ .protocol | quote }}
{{- if .caKey }}
ca = "/etc/farewell-broker/ca.pem"
{{- end }}
{{- end }}
{{- range $channel, $route := $values.courier }}

[{{ $role.section }}.courier.{{ $channel }}]
kind = {{ $route.kind | quote }}
{{- if eq $route.kind "smtp" }}
from = {{ $route.from | quote }}
{{- if $route.caKey }}
ca = "/etc/farewell-mail/ca.pem"
{{- end }}
{{- else if eq $route.kind "file" }}
path = "/tmp/codes"
{{- end }}
{{- end }}
{{- with $values.notices }}

[{{ $role.section }}.notices]
links = {{ .links | quote }}
language = {{ .language | quote }}
{{- end }}

[{{ $role.section }}.telemetry]
log = {{ .root.Values.telemetry.log | quote }}
json = true
{{- with .root.Values.telemetry.otlpEndpoint }}
otlp_endpoint = {{ . | quote }}
{{- end }}
{{ end -}}
