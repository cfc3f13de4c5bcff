/** Real Redis and Sentinel processes for tests, on loopback ports of their own, with the faults that happen to them. */

export { type Balancer, startBalancer } from "./redis/balancer.ts";
export { type CertificateAuthority, createAuthority } from "./redis/certificates.ts";
export {
  type SentinelCluster,
  type SentinelClusterOptions,
  startSentinelCluster,
} from "./redis/cluster.ts";
export type { RedisProcess } from "./redis/process.ts";
export { type StandaloneRedis, type StartRedisOptions, startRedis } from "./redis/standalone.ts";
export { until } from "./redis/until.ts";
