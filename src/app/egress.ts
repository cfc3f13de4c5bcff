/** From the settings to the way out: what the guard lets through, and the proxy. */

import { type Config, cidrsIn, type Role } from "../config.ts";
import type { HttpTransportOptions } from "../transport/http/http.ts";

type Egress = Required<Pick<HttpTransportOptions, "allowPrivate" | "allowCidrs" | "denyCidrs" | "proxyUrl">>;

export function egressOf(config: Config): Egress {
  return {
    allowPrivate: config.ALLOW_PRIVATE_URLS ?? false,
    allowCidrs: cidrsIn(config.EGRESS_ALLOW_CIDRS ?? ""),
    denyCidrs: cidrsIn(config.EGRESS_DENY_CIDRS ?? ""),
    proxyUrl: config.EGRESS_PROXY_URL ?? null,
  };
}

/** Whether some address that is not public may be called: what a worker says of itself to those who accept tasks. */
export function reachesPrivate({ allowPrivate, allowCidrs }: Egress): boolean {
  return allowPrivate || allowCidrs.length > 0;
}

/**
 * Whether a `serve` leaves it to the workers what may be called: they alone are usually told. One that was told
 * anything of it judges by that.
 */
export function asksWorkers(role: Role, config: Config): boolean {
  const told = [config.ALLOW_PRIVATE_URLS, config.EGRESS_ALLOW_CIDRS, config.EGRESS_DENY_CIDRS];
  return role === "serve" && told.every((value) => value === undefined);
}
