/** The calls of consumers, who lease the tasks of pull queues and tell what came of them. */

import type { Caller, CallOptions } from "./call.ts";
import type { Ack, ExtendRequest, LeasedTask, LeaseRequest, LeaseResult, Nack } from "./shapes.ts";

export class Pull {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /**
   * Tasks of the queue; none where none came within the request's `wait_sec`, which the call's timeout is added to unless
   * told. A call that is broken off leaves its tasks to others, at the latest when their leases have run out.
   */
  async lease(queue: string, request: LeaseRequest = {}, options: CallOptions = {}): Promise<LeasedTask[]> {
    const timeoutMs = options.timeoutMs ?? this.#caller.timeoutMs + (request.wait_sec ?? 0) * 1_000;
    const path = `/v1/queues/${encodeURIComponent(queue)}/lease`;
    const answer = await this.#caller.json<{ tasks: LeasedTask[] }>(
      { method: "POST", path, body: request, repeatable: false },
      { ...options, timeoutMs },
    );
    return answer.tasks;
  }

  /** Tells that tasks are done. One result per lease, in order: look for `lost`. */
  ack(leases: readonly Ack[], options?: CallOptions): Promise<LeaseResult[]> {
    return this.#tell("ack", { leases }, false, options);
  }

  /** Tells that tasks failed: they are tried again, or are dead, as their retries say. */
  nack(leases: readonly Nack[], options?: CallOptions): Promise<LeaseResult[]> {
    return this.#tell("nack", { leases }, false, options);
  }

  /** Makes leases hold for `lease_sec` from now. */
  extend(
    leases: readonly string[],
    { lease_sec, ...options }: CallOptions & Pick<ExtendRequest, "lease_sec"> = {},
  ): Promise<LeaseResult[]> {
    const body = { leases, ...(lease_sec !== undefined && { lease_sec }) };
    return this.#tell("extend", body, true, options);
  }

  async #tell(
    what: string,
    body: object,
    repeatable: boolean,
    options?: CallOptions,
  ): Promise<LeaseResult[]> {
    const answer = await this.#caller.json<{ results: LeaseResult[] }>(
      { method: "POST", path: `/v1/leases/${what}`, body, repeatable },
      options,
    );
    return answer.results;
  }
}
