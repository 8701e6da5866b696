{{/* The settings that the chart decides, as variables, which go before the file. POD_NAME is declared before. */}}
{{- define "portolan.env" -}}
{{- $isServer := include "portolan.isServer" . }}
{{- $addresses := .Values.addresses }}
- {name: PORTOLAN__REGION, value: {{ .Values.region | quote }}}
- {name: PORTOLAN__NODE, value: {{ .Values.node | quote }}}
# Where `kubectl exec POD -- portolan status` asks.
- name: PORTOLAN_SERVER
  value: {{ printf "http://%s:%d" (ternary "[::1]" "127.0.0.1" (contains ":" (first $addresses))) (int .Values.api.port) }}
- name: PORTOLAN__LISTEN__HTTP
  value: {{ include "portolan.listen" (dict "addresses" (list (first $addresses)) "port" .Values.api.port) | quote }}
- name: PORTOLAN__API__HOSTS
  value: {{ include "portolan.hosts" . | quote }}
{{- if $isServer }}
- name: PORTOLAN__LISTEN__DNS
  value: {{ include "portolan.listen" (dict "addresses" $addresses "port" .Values.dns.port) | quote }}
{{- if .Values.dns.dot.enabled }}
- name: PORTOLAN__LISTEN__TLS
  value: {{ include "portolan.listen" (dict "addresses" $addresses "port" .Values.dns.dot.port) | quote }}
{{- end }}
{{- if .Values.dns.doh.enabled }}
- name: PORTOLAN__LISTEN__HTTPS
  value: {{ include "portolan.listen" (dict "addresses" $addresses "port" .Values.dns.doh.port) | quote }}
{{- end }}
{{- if .Values.dns.doq.enabled }}
- name: PORTOLAN__LISTEN__QUIC
  value: {{ include "portolan.listen" (dict "addresses" $addresses "port" .Values.dns.doq.port) | quote }}
{{- end }}
{{- if .Values.tls.existingSecret }}
- {name: PORTOLAN__TLS__CERT, value: /etc/portolan/tls/tls.crt}
- {name: PORTOLAN__TLS__KEY, value: /etc/portolan/tls/tls.key}
{{- end }}
- {name: PORTOLAN__ZONES__DIR, value: /etc/portolan/zones}
- {name: PORTOLAN__STATE__DIR, value: /var/lib/portolan/state}
{{- if include "portolan.tokenSecret" . }}
- {name: PORTOLAN__API__TOKEN_FILE, value: /etc/portolan/api/tokens}
{{- end }}
{{- end }}
{{- with .Values.fleet }}
{{- if .nats }}
- {name: PORTOLAN__FLEET__NATS, value: {{ join "," .nats | quote }}}
- {name: PORTOLAN__FLEET__CLUSTER, value: {{ .cluster | quote }}}
{{- if .credentials.existingSecret }}
- {name: PORTOLAN__FLEET__CREDENTIALS, value: {{ printf "/etc/portolan/fleet/%s" .credentials.key | quote }}}
{{- end }}
{{- if .tls.existingSecret }}
- {name: PORTOLAN__FLEET__TLS__CA, value: /etc/portolan/fleet-tls/ca.crt}
{{- if .tls.clientCertificate }}
- {name: PORTOLAN__FLEET__TLS__CERT, value: /etc/portolan/fleet-tls/tls.crt}
- {name: PORTOLAN__FLEET__TLS__KEY, value: /etc/portolan/fleet-tls/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
