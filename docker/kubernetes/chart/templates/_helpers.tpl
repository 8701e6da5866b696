{{- define "portolan.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The names of pods and Services end with up to 11 more characters, and a label has at most 63. */}}
{{- define "portolan.fullname" -}}
{{- $name := include "portolan.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "portolan.selector" -}}
app.kubernetes.io/name: {{ include "portolan.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "portolan.labels" -}}
{{ include "portolan.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "portolan.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "portolan.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* Something, or nothing: whether the pods answer DNS. */}}
{{- define "portolan.isServer" -}}
{{- if eq .Values.mode "server" }}yes{{ end }}
{{- end }}

{{/* Something, or nothing: whether the pods read the API of the cluster. */}}
{{- define "portolan.discovers" -}}
{{- if and (include "portolan.isServer" .) .Values.discovery.namespaces }}yes{{ end }}
{{- end }}

{{- define "portolan.tokenSecret" -}}
{{- if .Values.api.existingSecret }}
{{- .Values.api.existingSecret }}
{{- else if .Values.api.tokens }}
{{- printf "%s-tokens" (include "portolan.fullname" .) }}
{{- end }}
{{- end }}

{{/* The addresses of the pods with this port, with commas, as environment variables have lists. */}}
{{- define "portolan.listen" -}}
{{- $listen := list }}
{{- range .addresses }}
{{- $listen = append $listen (printf "%s:%d" . (int $.port)) }}
{{- end }}
{{- join "," $listen }}
{{- end }}

{{/* The names under which clients in the cluster call the API. Addresses and names without a dot need no entry. */}}
{{- define "portolan.hosts" -}}
{{- $name := include "portolan.fullname" . }}
{{- $hosts := list }}
{{- range $of := list (printf "%s-api" $name) (printf "$(POD_NAME).%s-nodes" $name) }}
{{- range $domain := list "" ".svc" (printf ".svc.%s" $.Values.api.clusterDomain) }}
{{- $hosts = append $hosts (printf "%s.%s%s" $of $.Release.Namespace $domain) }}
{{- end }}
{{- end }}
{{- concat $hosts .Values.api.hosts | join "," }}
{{- end }}

{{/* The ports of the containers that answer DNS, as a list below `items`: name, port, servicePort, protocol. */}}
{{- define "portolan.dnsPorts" -}}
{{- $dns := .Values.dns }}
items:
  - {name: dns, port: {{ int $dns.port }}, servicePort: 53, protocol: UDP}
  - {name: dns-tcp, port: {{ int $dns.port }}, servicePort: 53, protocol: TCP}
{{- if $dns.dot.enabled }}
  - {name: dot, port: {{ int $dns.dot.port }}, servicePort: {{ int $dns.dot.servicePort }}, protocol: TCP}
{{- end }}
{{- if $dns.doh.enabled }}
  - {name: doh, port: {{ int $dns.doh.port }}, servicePort: {{ int $dns.doh.servicePort }}, protocol: TCP}
{{- end }}
{{- if $dns.doq.enabled }}
  - {name: doq, port: {{ int $dns.doq.port }}, servicePort: {{ int $dns.doq.servicePort }}, protocol: UDP}
{{- end }}
{{- end }}

{{/* What would start pods that can't work, refused with what to write instead. */}}
{{- define "portolan.checkValues" -}}
{{- $dns := .Values.dns }}
{{- if include "portolan.isServer" . }}
{{- $isEncrypted := or $dns.dot.enabled $dns.doh.enabled $dns.doq.enabled }}
{{- if and $isEncrypted (not .Values.tls.existingSecret) }}
{{- fail "dns.dot, dns.doh and dns.doq need a certificate: name a Secret of type kubernetes.io/tls in tls.existingSecret" }}
{{- end }}
{{- $tcp := list (int $dns.port) (int .Values.api.port) }}
{{- if $dns.dot.enabled }}{{ $tcp = append $tcp (int $dns.dot.port) }}{{ end }}
{{- if $dns.doh.enabled }}{{ $tcp = append $tcp (int $dns.doh.port) }}{{ end }}
{{- if ne (len $tcp) (len (uniq $tcp)) }}
{{- fail "dns.port, api.port, dns.dot.port and dns.doh.port are TCP ports of one container: give each its own" }}
{{- end }}
{{- if and $dns.doq.enabled (eq (int $dns.doq.port) (int $dns.port)) }}
{{- fail "dns.port and dns.doq.port are UDP ports of one container: give each its own" }}
{{- end }}
{{- if and .Values.service.perPod (or .Values.service.loadBalancerIP .Values.service.nodePort) }}
{{- fail "service.loadBalancerIP and service.nodePort are for one Service: leave them out with service.perPod" }}
{{- end }}
{{- else if not .Values.fleet.nats }}
{{- fail "mode: vantage needs the fleet that it reports to: set fleet.nats and fleet.cluster" }}
{{- end }}
{{- if and .Values.fleet.nats (not .Values.fleet.cluster) }}
{{- fail "fleet.nats needs fleet.cluster, the name of the fleet" }}
{{- end }}
{{- if and .Values.settings .Values.existingSettings }}
{{- fail "settings and existingSettings are both set: use one of them" }}
{{- end }}
{{- if and .Values.api.tokens .Values.api.existingSecret }}
{{- fail "api.tokens and api.existingSecret are both set: use one of them" }}
{{- end }}
{{- end }}
