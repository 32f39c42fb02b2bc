{{/*
The configuration file of one role: {root, name, role}. Secrets are not in it; they come as variables, which win.
*/}}
{{- define "farewell.config" -}}
{{- $fullname := include "farewell.fullname" .root -}}
{{- $role := .role -}}
[{{ $role.section }}]
{{- if not $role.values.database.existingSecret }}
{{ .name | eq "coordinator" | ternary "ledger" "database" }} = "sqlite:/var/lib/farewell/{{ .name }}.db"
{{- end }}
drain = "{{ .root.Values.drainSeconds }}s"
{{- if ne .name "coordinator" }}
{{- $domain := printf "%s-coordinator-peers.%s.svc.%s" $fullname .root.Release.Namespace .root.Values.clusterDomain }}
coordinators = [
{{- range $i := until (int .root.Values.coordinator.replicas) }}
  "https://{{ $fullname }}-coordinator-{{ $i }}.{{ $domain }}:7401",
{{- end }}
]
{{- end }}

[{{ $role.section }}.tls]
directory = "/etc/farewell-tls"
name = "{{ .name }}"
{{- with $role.ports }}

[{{ $role.section }}.listen]
{{- range $port, $number := . }}
{{ $port }} = "0.0.0.0:{{ $number }}"
{{- end }}
{{- end }}

[{{ $role.section }}.telemetry]
log = {{ .root.Values.telemetry.log | quote }}
json = true
{{- with .root.Values.telemetry.otlpEndpoint }}
otlp_endpoint = {{ . | quote }}
{{- end }}
{{ end -}}
