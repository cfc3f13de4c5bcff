{{/* What is refused, each with what to do. */}}

{{- define "cpln-task-runner.validate" -}}
{{- include "cpln-task-runner.validate.workloads" . -}}
{{- include "cpln-task-runner.validate.secret" . -}}
{{- include "cpln-task-runner.validate.adminKey" . -}}
{{- if and .Values.api.enabled .Values.api.public.enabled -}}
{{- include "cpln-task-runner.validate.public" . -}}
{{- end -}}
{{- end -}}

{{/* Before anything else: names and links are made of these two. */}}
{{- define "cpln-task-runner.validate.place" -}}
{{- if not (dig "cpln" "gvc" "" (.Values.global | default dict)) -}}
{{- fail "global.cpln.gvc is empty: name the GVC to install into (cpln helm … --gvc NAME)." -}}
{{- end -}}
{{- $longest := 49 -}}
{{- $suffix := len (include "cpln-task-runner.worker.name" .) | add (mul -1 (len .Release.Name)) | int -}}
{{- if gt (len .Release.Name | add $suffix | int) $longest -}}
{{- fail (printf "The release name %q is too long: %s would have more than the %d characters that a workload's name may have. Use at most %d." .Release.Name (include "cpln-task-runner.worker.name" .) $longest (sub $longest $suffix)) -}}
{{- end -}}
{{- end -}}

{{- define "cpln-task-runner.validate.workloads" -}}
{{- $reserved := list 8012 8022 9090 9091 15000 15001 15006 15020 15021 15090 41000 -}}
{{- range $role := list "api" "worker" -}}
{{- $values := get $.Values $role -}}
{{- if has (int $values.port) $reserved -}}
{{- fail (printf "%s.port is %d, which Control Plane keeps for itself (as it does %s)." $role (int $values.port) (join ", " $reserved)) -}}
{{- end -}}
{{- if gt (int $values.replicas.min) (int $values.replicas.max) -}}
{{- fail (printf "%s.replicas.min is %d, more than %s.replicas.max, which is %d." $role (int $values.replicas.min) $role (int $values.replicas.max)) -}}
{{- end -}}
{{- $own := include (printf "cpln-task-runner.%s.env" $role) $ | fromYamlArray -}}
{{- range $name, $_ := $values.extraEnv -}}
{{- if hasPrefix "CPLN_" $name -}}
{{- fail (printf "%s.extraEnv.%s: Control Plane keeps names that begin with CPLN_ for itself." $role $name) -}}
{{- end -}}
{{- range $each := $own -}}
{{- if eq $each.name $name -}}
{{- fail (printf "%s.extraEnv.%s: the chart sets this itself, from another value." $role $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $stopSec := add (int .Values.api.env.shutdownDelaySec) (int .Values.api.env.shutdownGraceSec) -}}
{{- if gt (int $stopSec) 60 -}}
{{- fail (printf "api.env.shutdownDelaySec and api.env.shutdownGraceSec come to %d s: a serverless replica has 90 s to end, of which 30 are kept, so 60 at most." $stopSec) -}}
{{- end -}}
{{- end -}}

{{- define "cpln-task-runner.validate.secret" -}}
{{- $ours := include "cpln-task-runner.secret.name" . -}}
{{- range $part := list "redis" "sentinel" -}}
{{- $from := (get $.Values.redis $part).auth.fromSecret -}}
{{- if $from.enabled -}}
{{- if not $.Values.createSecret -}}
{{- if not $from.name -}}
{{- fail (printf "createSecret is false and redis.%s.auth.fromSecret.name is empty: name the dictionary secret that holds the password under %s." $part $from.passwordKey) -}}
{{- end -}}
{{- else if ne $from.name $ours -}}
{{- fail (printf "redis.%s.auth.fromSecret.name is %s, but the chart makes the secret %s: leave the name out, or set secretName to it, or set createSecret to false to use a secret of your own." $part $from.name $ours) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.createSecret .Values.redis.redis.auth.fromSecret.enabled .Values.redis.sentinel.auth.fromSecret.enabled -}}
{{- if eq .Values.redis.redis.auth.fromSecret.passwordKey .Values.redis.sentinel.auth.fromSecret.passwordKey -}}
{{- fail "redis.redis.auth.fromSecret.passwordKey and redis.sentinel.auth.fromSecret.passwordKey are the same: one secret cannot hold two passwords under one key." -}}
{{- end -}}
{{- end -}}
{{- if .Values.createSecret -}}
{{- if and .Values.redis.redis.auth.fromSecret.enabled (not .Values.redis.redisPassword) -}}
{{- fail "redis.redisPassword is empty: give Redis a password." -}}
{{- end -}}
{{- if and .Values.redis.sentinel.auth.fromSecret.enabled (not .Values.redis.sentinelPassword) -}}
{{- fail "redis.sentinelPassword is empty: give Sentinel a password." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cpln-task-runner.validate.adminKey" -}}
{{- if .Values.api.env.adminApiKey -}}
{{- if .Values.api.admin.apiKeySecretName -}}
{{- fail "api.admin.apiKeySecretName and api.env.adminApiKey are both set: there is one admin key, so leave one of them empty." -}}
{{- end -}}
{{- if not .Values.createSecret -}}
{{- fail "api.env.adminApiKey is set and createSecret is false, so there is no secret to keep it in: put it into an opaque secret and name that in api.admin.apiKeySecretName." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cpln-task-runner.validate.public" -}}
{{- if not (include "cpln-task-runner.adminKey.at" .) -}}
{{- fail "api.public.enabled is true and there is no admin key: anyone could change clients and queues and read every task. Name an opaque secret that holds one in api.admin.apiKeySecretName." -}}
{{- end -}}
{{- if not .Values.api.public.inboundAllowCIDR -}}
{{- fail "api.public.enabled is true and api.public.inboundAllowCIDR is empty: nobody could call it. Name who may, or set api.public.enabled to false." -}}
{{- end -}}
{{- $published := list "mypassword" "your-password" "change-me-cpln-task-runner-redis" "change-me-cpln-task-runner-sentinel" -}}
{{- $used := dict -}}
{{- if .Values.createSecret -}}
{{- if .Values.redis.redis.auth.fromSecret.enabled -}}{{- $_ := set $used "redis.redisPassword" .Values.redis.redisPassword -}}{{- end -}}
{{- if .Values.redis.sentinel.auth.fromSecret.enabled -}}{{- $_ := set $used "redis.sentinelPassword" .Values.redis.sentinelPassword -}}{{- end -}}
{{- end -}}
{{- range $part := list "redis" "sentinel" -}}
{{- $password := dig "password" dict (get $.Values.redis $part).auth -}}
{{- if $password.enabled -}}{{- $_ := set $used (printf "redis.%s.auth.password.value" $part) $password.value -}}{{- end -}}
{{- end -}}
{{- range $name, $value := $used -}}
{{- if has $value $published -}}
{{- fail (printf "api.public.enabled is true and %s is a password that was published: set one of your own." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
