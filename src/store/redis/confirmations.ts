/** Waiting for replicas together: one WAIT at a time, because those behind it on the connection wait too. */

import type { Script } from "./script.ts";

/** How many replicas are to have what was written, and how long they are waited for. */
export interface WaitFor {
  readonly replicas: number;
  readonly timeoutMs: number;
}

/** The slice of a connection that confirmations use; see connection.ts. */
export interface ConfirmingConnection {
  call(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
    wait?: WaitFor,
  ): Promise<{ readonly reply: unknown; readonly acked: number; readonly ranOn: object }>;
  confirm(ranOn: object, wait: WaitFor): Promise<number>;
}

/** One whose script has run, and who waits for the next WAIT. */
interface Waiter {
  readonly ranOn: object;
  readonly resolve: (acked: number) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Calls scripts and tells how many replicas have what they wrote. A call that finds no WAIT under way sends
 * its own right behind it. Those that come meanwhile run at once and share the next one, so that whatever
 * comes together while replicas are away is told so after two timeouts at most, not one after the other.
 */
export class Confirmations {
  readonly #connection: ConfirmingConnection;
  readonly #keys: readonly string[];
  readonly #wait: WaitFor;
  #waiters: Waiter[] = [];
  #waiting = false;

  constructor(connection: ConfirmingConnection, keys: readonly string[], wait: WaitFor) {
    this.#connection = connection;
    this.#keys = keys;
    this.#wait = wait;
  }

  /** Rejects as the connection does. `acked` counts the replicas that have what this call wrote. */
  async call(
    script: Script,
    args: readonly (string | number)[],
  ): Promise<{ readonly reply: unknown; readonly acked: number }> {
    if (this.#waiting) {
      const { reply, ranOn } = await this.#connection.call(script, this.#keys, args);
      return { reply, acked: await this.#share(ranOn) };
    }
    this.#waiting = true;
    try {
      return await this.#connection.call(script, this.#keys, args, this.#wait);
    } finally {
      this.#waiting = false;
      this.#next();
    }
  }

  #share(ranOn: object): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ ranOn, resolve, reject });
      this.#next();
    });
  }

  /** One WAIT for all whose scripts have run by now. Those of a connection that is gone are told by it. */
  #next(): void {
    const first = this.#waiters[0];
    if (this.#waiting || first === undefined) return;
    const together = this.#waiters.filter(({ ranOn }) => ranOn === first.ranOn);
    this.#waiters = this.#waiters.filter(({ ranOn }) => ranOn !== first.ranOn);
    this.#waiting = true;
    this.#connection
      .confirm(first.ranOn, this.#wait)
      .then(
        (acked) => {
          for (const { resolve } of together) resolve(acked);
        },
        (reason: unknown) => {
          for (const { reject } of together) reject(reason);
        },
      )
      .finally(() => {
        this.#waiting = false;
        this.#next();
      });
  }
}
