{{/* Where each secret value is found: NAME.KEY, or nothing where there is none. */}}

{{/*
A password of Redis or of Sentinel. Takes a dict: auth, the part of Redis' values; own, the name of the secret that Redis'
chart makes when it is given the password itself.
*/}}
{{- define "cpln-task-runner.password.at" -}}
{{- if .auth.fromSecret.enabled -}}
{{- printf "%s.%s" .auth.fromSecret.name .auth.fromSecret.passwordKey -}}
{{- else if dig "password" "enabled" false .auth -}}
{{- printf "%s.password" .own -}}
{{- end -}}
{{- end -}}

{{- define "cpln-task-runner.redisPassword.at" -}}
{{- include "cpln-task-runner.password.at" (dict "auth" .Values.redis.redis.auth "own" (printf "%s-redis-auth-password" .Release.Name)) -}}
{{- end -}}

{{- define "cpln-task-runner.sentinelPassword.at" -}}
{{- include "cpln-task-runner.password.at" (dict "auth" .Values.redis.sentinel.auth "own" (printf "%s-sentinel-auth-password" .Release.Name)) -}}
{{- end -}}

{{/* The dictionary of your own that 1.2 took the admin key from; the chart's own secret, which it named too, has none there. */}}
{{- define "cpln-task-runner.adminDictionary" -}}
{{- $name := .Values.redis.admin.fromSecret.name -}}
{{- if and $name (not (and .Values.createSecret (eq $name (include "cpln-task-runner.secret.name" .)))) -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{- define "cpln-task-runner.adminKey.at" -}}
{{- if .Values.api.admin.apiKeySecretName -}}
{{- printf "%s.payload" .Values.api.admin.apiKeySecretName -}}
{{- else if .Values.api.env.adminApiKey -}}
{{- printf "%s.%s" (include "cpln-task-runner.secret.name" .) .Values.redis.admin.fromSecret.apiKeyKey -}}
{{- else if include "cpln-task-runner.adminDictionary" . -}}
{{- printf "%s.%s" (include "cpln-task-runner.adminDictionary" .) .Values.redis.admin.fromSecret.apiKeyKey -}}
{{- end -}}
{{- end -}}

{{- define "cpln-task-runner.secretsKey.at" -}}
{{- with .Values.secretsKeySecretName -}}
{{- printf "%s.payload" . -}}
{{- end -}}
{{- end -}}

{{/* Names of all secrets that the workloads read, one a line, each once. */}}
{{- define "cpln-task-runner.secrets.read" -}}
{{- $names := list -}}
{{- range $what := list "redisPassword" "sentinelPassword" "adminKey" "secretsKey" -}}
{{- with include (printf "cpln-task-runner.%s.at" $what) $ -}}
{{- $names = append $names (splitList "." . | first) -}}
{{- end -}}
{{- end -}}
{{- uniq $names | join "\n" -}}
{{- end -}}

{{/* What the chart's own secret holds, as YAML; nothing where there is nothing to hold. */}}
{{- define "cpln-task-runner.secret.data" -}}
{{- $data := dict -}}
{{- if .Values.createSecret -}}
{{- with .Values.redis.redis.auth.fromSecret -}}
{{- if .enabled -}}{{- $_ := set $data .passwordKey $.Values.redis.redisPassword -}}{{- end -}}
{{- end -}}
{{- with .Values.redis.sentinel.auth.fromSecret -}}
{{- if .enabled -}}{{- $_ := set $data .passwordKey $.Values.redis.sentinelPassword -}}{{- end -}}
{{- end -}}
{{- with .Values.api.env.adminApiKey -}}
{{- $_ := set $data $.Values.redis.admin.fromSecret.apiKeyKey . -}}
{{- end -}}
{{- end -}}
{{- if $data -}}
{{- range $key, $value := $data }}
{{ $key }}: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
