/** Sets of values that the chart is rendered with, and what is read of what comes out. */

import { only, type Rendered, type Values } from "./chart.ts";
import type { Workload } from "./resources.ts";

/** Passwords that were never published. */
export const OWN_PASSWORDS: Values = { redis: { redisPassword: "r-secret", sentinelPassword: "s-secret" } };
export const PUBLIC: Values = {
  ...OWN_PASSWORDS,
  api: { public: { enabled: true }, admin: { apiKeySecretName: "admin-key" } },
};

/** All values that the catalog's console keeps of an install of 1.3.0, with passwords of its own. */
const OF_1_3_0: Values = {
  image: "//image/task-runner:0.1.0",
  api: {
    enabled: true,
    replicas: { min: 1, max: 3 },
    port: 8080,
    public: { enabled: true, pathPrefix: "" },
    admin: { apiKeySecretName: "my-cpln-task-runner-admin-key" },
    resources: { cpu: "500m", memory: "512Mi" },
    env: { logLevel: "info", otelEndpoint: "", connectRetries: 30, retryIntervalSec: 2 },
  },
  worker: {
    enabled: true,
    replicas: { min: 1, max: 5 },
    port: 8082,
    resources: { cpu: 1, memory: "1Gi" },
    env: {
      logLevel: "info",
      concurrency: 10,
      taskTimeoutSec: 1800,
      maxRetry: 5,
      allowPrivateUrls: false,
      cbFailureThreshold: 5,
      cbTimeoutSec: 30,
      connectRetries: 30,
      retryIntervalSec: 2,
      otelEndpoint: "",
    },
  },
  createSecret: true,
  secretName: "task-runner-secrets",
  redis: {
    redisPassword: "r-secret",
    sentinelPassword: "s-secret",
    redis: {
      auth: { fromSecret: { enabled: true, name: "task-runner-secrets", passwordKey: "redis-password" } },
      persistence: { enabled: true },
    },
    sentinel: {
      auth: {
        fromSecret: { enabled: true, name: "task-runner-secrets", passwordKey: "redis-sentinel-password" },
      },
      persistence: { enabled: true },
    },
  },
};

/** Every way to install that the chart means to serve, by name. */
export const MATRIX: Readonly<Record<string, Values>> = {
  "nothing set": {},
  "own passwords": OWN_PASSWORDS,
  public: PUBLIC,
  "public under a path": {
    ...OWN_PASSWORDS,
    api: { public: { enabled: true, pathPrefix: "/tasks" }, admin: { apiKeySecretName: "admin-key" } },
  },
  "an admin key as a value": {
    ...OWN_PASSWORDS,
    api: { env: { adminApiKey: "k" }, public: { enabled: true } },
  },
  "the API alone": { worker: { enabled: false } },
  "the worker alone": { api: { enabled: false } },
  "secrets of one's own": {
    createSecret: false,
    redis: {
      admin: { fromSecret: { name: "own-admin", apiKeyKey: "key" } },
      redis: { auth: { fromSecret: { name: "own-redis", passwordKey: "a" } } },
      sentinel: { auth: { fromSecret: { name: "own-sentinel", passwordKey: "b" } } },
    },
  },
  "all of 1.3.0": OF_1_3_0,
  "a Redis that makes its own secrets": {
    redis: {
      redis: { auth: { fromSecret: { enabled: false }, password: { enabled: true, value: "r" } } },
      sentinel: { auth: { fromSecret: { enabled: false }, password: { enabled: true, value: "s" } } },
    },
  },
  "a Redis without passwords": {
    redis: {
      redis: { auth: { fromSecret: { enabled: false } } },
      sentinel: { auth: { fromSecret: { enabled: false } } },
    },
  },
  "a fixed number of workers": {
    worker: { autoscaling: { metric: "disabled" }, replicas: { min: 4, max: 9 } },
  },
  "all that is optional": {
    secretsKeySecretName: "signing",
    api: { env: { otelEndpoint: "tracing.controlplane:4318" }, extraEnv: { DEFAULT_CLIENT_TIER: "premium" } },
    worker: {
      env: { otelEndpoint: "tracing.controlplane:4318" },
      extraEnv: { LEASE_SEC: 60, REDIS_TLS: false },
    },
  },
};

export function workload({ resources }: Rendered, role: "api" | "worker"): Workload {
  return only(resources, "workload", `-task-runner-${role}`) as unknown as Workload;
}

/** The environment of a role, by name. */
export function envOf(rendered: Rendered, role: "api" | "worker"): Record<string, string> {
  const [container] = workload(rendered, role).spec.containers;
  return Object.fromEntries(container.env.map(({ name, value }) => [name, value]));
}
