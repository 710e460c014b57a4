{{- /* What the pods of servers and jobs share. */}}

{{- define "lockstep.podSettings" -}}
serviceAccountName: {{ include "lockstep.serviceAccount" . }}
automountServiceAccountToken: false
# Else a Service named lockstep would set LOCKSTEP_PORT=tcp://..., which is no port.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lockstep.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "lockstep.env" -}}
- name: LOCKSTEP_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ required "existingSecret: name a Secret with the key database-url" .Values.existingSecret }}
      key: database-url
- name: LOCKSTEP_STORE_URL
  value: {{ required "store.url: where Qdrant answers, http://HOST:6333" .Values.store.url | quote }}
- name: LOCKSTEP_STORE_GRPC_PORT
  value: {{ .Values.store.grpcPort | quote }}
{{- if .Values.store.apiKey }}
- name: LOCKSTEP_STORE_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.existingSecret }}
      key: store-api-key
{{- end }}
- name: LOCKSTEP_ARTEFACTS_URL
  value: {{ include "lockstep.artefacts" . | quote }}
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "lockstep.artefacts" -}}
{{- with .Values.artefacts }}
{{- if and .url .existingClaim }}{{ fail "artefacts: give url or existingClaim, not both" }}{{ end }}
{{- if .existingClaim }}/models
{{- else }}{{ required "artefacts: give url, or existingClaim" .url }}{{ end }}
{{- end }}
{{- end }}

{{- define "lockstep.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: cache, mountPath: /cache}
{{- if .Values.artefacts.existingClaim }}
- {name: models, mountPath: /models}
{{- end }}
{{- end }}

{{- define "lockstep.volumes" -}}
- name: tmp
  emptyDir: {}
- name: cache
  emptyDir: {sizeLimit: {{ .Values.api.cacheSize }}}
{{- with .Values.artefacts.existingClaim }}
- name: models
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- end }}
