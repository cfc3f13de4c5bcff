/** Finds the ends of HTTP/1.1 messages in a stream of bytes, at the least cost that is still right. */

const HEAD_END = Buffer.from("\r\n\r\n");
const LENGTH_AS_USUALLY_WRITTEN = Buffer.from("\r\nContent-Length: ");
const DIGIT_0 = 48;
const DIGIT_9 = 57;

/** Cuts one direction of one connection into messages. Bodies must be sized by Content-Length. */
export class MessageReader {
  readonly #onMessage: (message: Buffer, bodyStart: number) => void;
  #rest: Buffer | null = null;

  /** `onMessage` gets each whole message and where its body starts; the bytes are valid during the call only. */
  constructor(onMessage: (message: Buffer, bodyStart: number) => void) {
    this.#onMessage = onMessage;
  }

  /** Takes the next bytes; throws on a message whose end it cannot tell. */
  push(chunk: Buffer): void {
    let bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = null;
    while (bytes.length > 0) {
      const headEnd = bytes.indexOf(HEAD_END);
      const bodyStart = headEnd + HEAD_END.length;
      const end = headEnd === -1 ? Number.POSITIVE_INFINITY : bodyStart + bodyLength(bytes, headEnd);
      if (end > bytes.length) {
        // The chunk's memory is the socket's again after this call.
        this.#rest = Buffer.from(bytes);
        return;
      }
      this.#onMessage(bytes.length === end ? bytes : bytes.subarray(0, end), bodyStart);
      bytes = bytes.subarray(end);
    }
  }
}

/** What Content-Length says; a message without one has no body. */
function bodyLength(bytes: Buffer, headEnd: number): number {
  const at = bytes.indexOf(LENGTH_AS_USUALLY_WRITTEN);
  if (at !== -1 && at < headEnd) return digitsAt(bytes, at + LENGTH_AS_USUALLY_WRITTEN.length);
  const head = bytes.toString("latin1", 0, headEnd);
  if (/\r\ntransfer-encoding:/i.test(head)) throw new Error("the bench reads bodies of a stated length only");
  return Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
}

function digitsAt(bytes: Buffer, start: number): number {
  let value = 0;
  for (let at = start; ; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < DIGIT_0 || byte > DIGIT_9) return value;
    value = value * 10 + (byte - DIGIT_0);
  }
}

/** The status of a response, read from its first line. */
export function statusOf(response: Buffer): number {
  return digitsAt(response, "HTTP/1.1 ".length);
}

/** The bytes of a keep-alive POST of JSON. */
export function postBytes(port: number, path: string, body: string): Buffer {
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
