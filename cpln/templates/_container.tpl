{{/*
The container of a role, as one item of a list. Takes a dict: root, role.

The image has no shell, so the platform's own preStop hook (sh, sleep) would fail, and a hook that fails kills the replica at
once. Ours ends well and at once: the program itself waits and drains when it is told to end, see the README.
*/}}
{{- define "cpln-task-runner.container" -}}
{{- $values := get .root.Values .role -}}
- name: {{ .role }}
  image: {{ .root.Values.image | quote }}
  ports:
    - number: {{ int $values.port }}
      protocol: http
  cpu: {{ $values.resources.cpu | toString | quote }}
  memory: {{ $values.resources.memory | toString | quote }}
  env:
    {{- include (printf "cpln-task-runner.%s.env" .role) .root | trim | nindent 4 }}
    {{- with include "cpln-task-runner.env.extra" $values.extraEnv }}
    {{- . | trim | nindent 4 }}
    {{- end }}
  lifecycle:
    preStop:
      exec:
        command:
          - task-runner
          - version
  # The platform allows thirty failures of it until a container has started: 5 s + 30 x 10 s carries Redis' cold start.
  readinessProbe:
    httpGet:
      path: /health/ready
      port: {{ int $values.port }}
    initialDelaySeconds: 5
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  livenessProbe:
    httpGet:
      path: /health/live
      port: {{ int $values.port }}
    initialDelaySeconds: 10
    periodSeconds: 15
    timeoutSeconds: 5
    failureThreshold: 3
{{- end -}}
