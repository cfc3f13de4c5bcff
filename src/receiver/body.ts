/** Reads the body of a request as the bytes that were signed, and no more of it than is wanted. */

import { VerificationError } from "./error.ts";

/** A request whose body was read already: by Node's http, by a framework. */
export interface ReadRequest {
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The bytes as they came, or their text; never what a parser made of them. Null for none. */
  readonly body: Uint8Array | ArrayBuffer | string | null;
}

/** Rejects with `body_too_large`, or with a TypeError for a body that was read or parsed before. */
export function bodyOf(request: Request | ReadRequest, maxBytes: number): Promise<Uint8Array> {
  if (isUnread(request)) return readStream(request, maxBytes);
  return Promise.resolve(checked(bytesOf(request.body), maxBytes));
}

/** By what it can do, for a framework's requests are not always of this runtime's class. */
function isUnread(request: Request | ReadRequest): request is Request {
  return "arrayBuffer" in request && typeof request.arrayBuffer === "function";
}

function bytesOf(body: ReadRequest["body"]): Uint8Array {
  if (body === null || body === undefined) return new Uint8Array();
  if (typeof body === "string") return new TextEncoder().encode(body);
  if (body instanceof Uint8Array) return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  throw new TypeError("body must be the bytes or the text as it came, not what a parser made of it");
}

async function readStream(request: Request, maxBytes: number): Promise<Uint8Array> {
  if (request.bodyUsed) throw new TypeError("the request's body was read already: give { headers, body }");
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = request.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > maxBytes) {
      // It is refused whatever becomes of the rest.
      await reader.cancel().catch(() => {});
      throw tooLarge(maxBytes);
    }
    chunks.push(value);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

function checked(body: Uint8Array, maxBytes: number): Uint8Array {
  if (body.length > maxBytes) throw tooLarge(maxBytes);
  return body;
}

function tooLarge(maxBytes: number): VerificationError {
  return new VerificationError("body_too_large", `the body is larger than ${maxBytes} bytes`);
}
