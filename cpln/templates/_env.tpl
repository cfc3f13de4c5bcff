{{/* The environment of each role: names are the program's settings (docs/configuration.md). */}}

{{/* One that is set only where the value is not empty. Takes a dict: name, value. */}}
{{- define "cpln-task-runner.env.given" -}}
{{- if .value }}
- name: {{ .name }}
  value: {{ .value | toString | quote }}
{{- end -}}
{{- end -}}

{{/* One that a secret holds. Takes a dict: name, at. */}}
{{- define "cpln-task-runner.env.secret" -}}
{{- if .at }}
- name: {{ .name }}
  value: {{ printf "cpln://secret/%s" .at | quote }}
{{- end -}}
{{- end -}}

{{/* What both roles are told. Takes a dict: root, role, mode. */}}
{{- define "cpln-task-runner.env.shared" -}}
{{- $values := get .root.Values .role -}}
- name: MODE
  value: {{ .mode }}
- name: PORT
  value: {{ int $values.port | quote }}
- name: LOG_LEVEL
  value: {{ $values.env.logLevel | quote }}
- name: REDIS_MASTER_NAME
  value: mymaster
- name: REDIS_SENTINEL_ADDR
  value: {{ include "cpln-task-runner.sentinel.address" .root | quote }}
- name: REDIS_CONNECT_RETRIES
  value: {{ int $values.env.connectRetries | quote }}
- name: REDIS_RETRY_INTERVAL_SEC
  value: {{ int $values.env.retryIntervalSec | quote }}
- name: SHUTDOWN_GRACE_SEC
  value: {{ int $values.env.shutdownGraceSec | quote }}
{{- include "cpln-task-runner.env.secret" (dict "name" "REDIS_PASSWORD" "at" (include "cpln-task-runner.redisPassword.at" .root)) }}
{{- include "cpln-task-runner.env.secret" (dict "name" "REDIS_SENTINEL_PASSWORD" "at" (include "cpln-task-runner.sentinelPassword.at" .root)) }}
{{- include "cpln-task-runner.env.secret" (dict "name" "SECRETS_KEY" "at" (include "cpln-task-runner.secretsKey.at" .root)) }}
{{- include "cpln-task-runner.env.given" (dict "name" "OTEL_EXPORTER_OTLP_ENDPOINT" "value" $values.env.otelEndpoint) }}
{{- end -}}

{{- define "cpln-task-runner.api.env" -}}
{{- include "cpln-task-runner.env.shared" (dict "root" . "role" "api" "mode" "api") }}
{{- include "cpln-task-runner.env.secret" (dict "name" "ADMIN_API_KEY" "at" (include "cpln-task-runner.adminKey.at" .)) }}
- name: CLIENT_AUTH
  value: {{ .Values.api.env.clientAuth | default (ternary "required" "off" .Values.api.public.enabled) | quote }}
- name: SHUTDOWN_DELAY_SEC
  value: {{ int .Values.api.env.shutdownDelaySec | quote }}
{{- /* Of tasks in pull queues, which no worker sees, it is the API that counts the retries. */}}
- name: MAX_RETRY
  value: {{ int .Values.worker.env.maxRetry | quote }}
{{- include "cpln-task-runner.env.given" (dict "name" "PATH_PREFIX" "value" .Values.api.public.pathPrefix) }}
{{- end -}}

{{- define "cpln-task-runner.worker.env" -}}
{{- include "cpln-task-runner.env.shared" (dict "root" . "role" "worker" "mode" "worker") }}
{{- with .Values.worker.env }}
- name: WORKER_CONCURRENCY
  value: {{ int .concurrency | quote }}
- name: TASK_TIMEOUT_SEC
  value: {{ int .taskTimeoutSec | quote }}
- name: MAX_RETRY
  value: {{ int .maxRetry | quote }}
- name: ALLOW_PRIVATE_URLS
  value: {{ .allowPrivateUrls | quote }}
- name: CB_FAILURE_THRESHOLD
  value: {{ int .cbFailureThreshold | quote }}
- name: CB_TIMEOUT_SEC
  value: {{ int .cbTimeoutSec | quote }}
{{- end }}
{{- end -}}

{{/* What is left to the values. Takes the map. */}}
{{- define "cpln-task-runner.env.extra" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}
