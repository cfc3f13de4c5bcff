/** Bounds the memory of requests: so many bytes of bodies are held at once, from their reading to their answer. */

import { TaskRunnerError } from "../core/errors.ts";
import { readText } from "./json-body.ts";

/** Four of the largest requests; what is made of a body takes a few times its bytes. */
const LARGEST_AT_ONCE = 4;
/** A large body is begun only while this share is free, so that few are broken off and small ones find room. */
const FREE_TO_BEGIN = 0.5;

/** Room for what is being read, shared by the routes that take large bodies. */
export class BodyRoom {
  readonly #maxBytes: number;
  #bytes = 0;

  /** `largestBytes` is the most bytes that a body may have. */
  constructor(largestBytes: number) {
    this.#maxBytes = largestBytes * LARGEST_AT_ONCE;
  }

  /**
   * Resolves as `use` does with the body's text, which counts until then. Rejects as {@link readText} does, and with
   * `overloaded` where too much is held already: Bun leaves what nobody reads with its sender.
   */
  async withText<T>(request: Request, maxBytes: number, use: (text: string) => T | Promise<T>): Promise<T> {
    let taken = 0;
    const take = (bytes: number) => {
      if (this.#bytes + bytes > this.#maxBytes) throw tooMuch();
      this.#bytes += bytes;
      taken += bytes;
    };
    const begin = () => {
      if (this.#bytes > this.#maxBytes * FREE_TO_BEGIN) throw tooMuch();
    };
    try {
      return await use(await readText(request, maxBytes, { begin, take }));
    } finally {
      this.#bytes -= taken;
    }
  }
}

function tooMuch(): TaskRunnerError {
  return new TaskRunnerError("overloaded", "Too many large requests are being read; try again shortly.", {
    retryAfterSec: 1,
  });
}
