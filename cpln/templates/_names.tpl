{{/* Names of what this chart makes, and of what it refers to. */}}

{{- define "cpln-task-runner.api.name" -}}
{{- printf "%s-task-runner-api" .Release.Name -}}
{{- end -}}

{{- define "cpln-task-runner.worker.name" -}}
{{- printf "%s-task-runner-worker" .Release.Name -}}
{{- end -}}

{{- define "cpln-task-runner.identity.name" -}}
{{- printf "%s-task-runner-identity" .Release.Name -}}
{{- end -}}

{{- define "cpln-task-runner.identity.link" -}}
{{- printf "//gvc/%s/identity/%s" .Values.global.cpln.gvc (include "cpln-task-runner.identity.name" .) -}}
{{- end -}}

{{- define "cpln-task-runner.policy.name" -}}
{{- printf "%s-task-runner-policy" .Release.Name -}}
{{- end -}}

{{/* Two releases in one org must not share it: secrets belong to the org, not to the GVC. */}}
{{- define "cpln-task-runner.secret.name" -}}
{{- .Values.secretName | default (printf "%s-task-runner-secrets" .Release.Name) -}}
{{- end -}}

{{/* One address for all Sentinels; Redis' chart makes the workload. */}}
{{- define "cpln-task-runner.sentinel.address" -}}
{{- printf "%s-sentinel.%s.cpln.local:26379" .Release.Name .Values.global.cpln.gvc -}}
{{- end -}}
