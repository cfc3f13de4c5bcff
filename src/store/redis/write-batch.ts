/** Turns the commands of one turn of the event loop into one write to the socket: several times the throughput of one write each. */

import process from "node:process";
import type Redis from "ioredis";

/** A write is made early once this much has gathered, so that strings stay short of any limit. */
const MAX_CHARS = 1_048_576;

/** The parameter of ioredis' `sendCommand` that says where a command is written to. */
type CommandStream = Exclude<NonNullable<Parameters<Redis["sendCommand"]>[1]>, { readonly destroy: unknown }>;

export class WriteBatch {
  /** To be handed to `sendCommand`, for which it stands in place of the socket. */
  readonly stream: CommandStream;
  readonly #client: Redis;
  #gathered = "";
  #scheduled = false;

  constructor(client: Redis) {
    this.#client = client;
    this.stream = {
      isPipeline: true,
      destination: { redis: client },
      write: (data: string | Buffer) => this.#add(data),
    };
  }

  #add(data: string | Buffer): void {
    if (typeof data === "string") {
      this.#gathered += data;
      if (this.#gathered.length > MAX_CHARS) this.#flush();
    } else {
      this.#flush();
      this.#write(data);
    }
    if (this.#gathered === "" || this.#scheduled) return;
    this.#scheduled = true;
    // After the promises that are being settled now, whose callers may send too.
    process.nextTick(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#gathered === "") return;
    const data = this.#gathered;
    this.#gathered = "";
    this.#write(data);
  }

  /** What was to go to a socket that is gone has been rejected with everything else in flight. */
  #write(data: string | Buffer): void {
    if (!this.#client.stream.destroyed) this.#client.stream.write(data);
  }
}
