/** Which transport a task leaves by: one owner per URL scheme, whether built in or from a plugin. */

import type { Target } from "../core/task.ts";
import type { TargetProblem, Transport } from "../core/transport.ts";

const SCHEME = /^([a-z][a-z0-9+.-]*:)/i;

/** The transports of a process, found by the scheme of a task's URL. */
export class TransportRegistry {
  readonly #transports: readonly Transport[];
  readonly #owners = new Map<string, Transport>();

  /** Throws when two transports claim one scheme, or when a scheme is not written like `https:`. */
  constructor(transports: readonly Transport[]) {
    this.#transports = transports;
    for (const transport of transports) {
      for (const scheme of transport.schemes) this.#own(scheme, transport);
    }
  }

  #own(scheme: string, transport: Transport): void {
    if (scheme !== scheme.toLowerCase() || SCHEME.exec(scheme)?.[0] !== scheme) {
      throw new Error(
        `transport "${transport.name}" claims "${scheme}", which is not a scheme in lower case with its colon, like "https:"`,
      );
    }
    const owner = this.#owners.get(scheme);
    if (owner !== undefined) {
      throw new Error(`transports "${owner.name}" and "${transport.name}" both claim the scheme "${scheme}"`);
    }
    this.#owners.set(scheme, transport);
  }

  /** The transport that owns the URL's scheme, or undefined where none does. */
  for(url: string): Transport | undefined {
    const scheme = SCHEME.exec(url)?.[0];
    return scheme === undefined ? undefined : this.#owners.get(scheme.toLowerCase());
  }

  /** What is wrong with a target, as its transport judges it; an unknown scheme is a policy's refusal. */
  check(target: Target): readonly TargetProblem[] {
    const transport = this.for(target.url);
    if (transport !== undefined) return transport.check(target);
    const allowed = [...this.#owners.keys()].join(", ");
    const scheme = SCHEME.exec(target.url)?.[0];
    return scheme === undefined
      ? [{ path: "task.url", message: `must be an absolute URL with one of: ${allowed}`, forbidden: false }]
      : [
          {
            path: "task.url",
            message: `scheme "${scheme.slice(0, 40)}" is not supported; use one of: ${allowed}`,
            forbidden: true,
          },
        ];
  }

  /** Closes every transport, each whatever the others do; rejects with what went wrong. */
  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.#transports.map((transport) => transport.close()));
    const reasons = closed.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    if (reasons.length > 0) throw new AggregateError(reasons, "a transport did not close cleanly");
  }
}
