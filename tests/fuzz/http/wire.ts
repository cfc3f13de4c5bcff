/** A client of HTTP/1.1 over a socket that sends whatever it is told, as no proper client would. */

import { connect, type Socket } from "node:net";

/** One request; names and values of headers go out as they are, in their order, as Latin-1. */
export interface WireRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | null;
}

export interface WireAnswer {
  readonly status: number;
  /** Names in lower case; of those that come twice the last. */
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
}

/** No answer takes longer, whatever is asked. */
const PATIENCE_MS = 10_000;

/** One connection at a time, kept alive as long as the server lets it. */
export class Wire {
  readonly #port: number;
  readonly #localAddress: string | undefined;
  #socket: Socket | null = null;
  #heard: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => {};

  constructor(port: number, localAddress?: string) {
    this.#port = port;
    this.#localAddress = localAddress;
  }

  /** Resolves with the answer; null where the connection was closed without one. */
  async send(request: WireRequest): Promise<WireAnswer | null> {
    const reused = this.#socket !== null;
    const answer = await this.#once(request);
    // A connection that was kept may have been closed meanwhile: the request never arrived.
    return answer === null && reused ? this.#once(request) : answer;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  async #once(request: WireRequest): Promise<WireAnswer | null> {
    const socket = await this.#open();
    socket.write(bytesOf(request));
    const answer = await this.#read(request.method === "HEAD");
    if (answer === null || this.#ended || answer.headers.get("connection") === "close") this.close();
    return answer;
  }

  #open(): Promise<Socket> {
    if (this.#socket !== null) return Promise.resolve(this.#socket);
    return new Promise((resolve, reject) => {
      const socket = connect({
        port: this.#port,
        host: "127.0.0.1",
        ...(this.#localAddress !== undefined && { localAddress: this.#localAddress }),
      });
      this.#socket = socket;
      this.#heard = Buffer.alloc(0);
      this.#ended = false;
      socket.setNoDelay(true);
      socket.once("connect", () => resolve(socket));
      socket.once("error", reject);
      socket.on("error", () => socket.destroy());
      socket.on("data", (data: Buffer) => {
        if (socket !== this.#socket) return;
        this.#heard = this.#heard.length === 0 ? data : Buffer.concat([this.#heard, data]);
        this.#wake();
      });
      socket.on("close", () => {
        if (socket !== this.#socket) return;
        this.#ended = true;
        this.#wake();
      });
    });
  }

  async #read(isHead: boolean): Promise<WireAnswer | null> {
    const untilMs = Date.now() + PATIENCE_MS;
    for (;;) {
      const parsed = parseAnswer(this.#heard, isHead, this.#ended);
      if (parsed !== null) {
        this.#heard = this.#heard.subarray(parsed.used);
        if (parsed.answer.status !== 100) return parsed.answer;
        continue;
      }
      if (this.#ended) return null;
      await this.#more(untilMs - Date.now());
    }
  }

  #more(patienceMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.close();
        reject(new Error(`no answer came within ${PATIENCE_MS} ms`));
      }, patienceMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function bytesOf({ method, path, headers, body }: WireRequest): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`)];
  if (!headers.some(([name]) => name.toLowerCase() === "host")) lines.push("Host: fuzz");
  if (body !== null && !headers.some(([name]) => /^(?:content-length|transfer-encoding)$/i.test(name))) {
    lines.push(`Content-Length: ${body.length}`);
  }
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return body === null ? head : Buffer.concat([head, body]);
}

/** Takes one answer off the start of what was heard; null while it is not whole. */
export function parseAnswer(
  heard: Buffer,
  isHead: boolean,
  ended: boolean,
): { readonly answer: WireAnswer; readonly used: number } | null {
  const headEnd = heard.indexOf("\r\n\r\n");
  if (headEnd < 0) return null;
  const [statusLine = "", ...lines] = heard.toString("latin1", 0, headEnd).split("\r\n");
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1]);
  if (Number.isNaN(status)) throw new Error(`this is no answer of HTTP: ${JSON.stringify(statusLine)}`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  const bodyAt = headEnd + 4;
  const answer = (text: string, used: number) => ({ answer: { status, headers, text }, used });
  if (isHead || status === 204 || status === 304 || status < 200) return answer("", bodyAt);
  if (/chunked/i.test(headers.get("transfer-encoding") ?? "")) return chunked(heard, bodyAt, answer);
  const length = headers.get("content-length");
  if (length === undefined) return ended ? answer(heard.toString("utf8", bodyAt), heard.length) : null;
  const end = bodyAt + Number(length);
  return heard.length < end ? null : answer(heard.toString("utf8", bodyAt, end), end);
}

function chunked<T>(heard: Buffer, bodyAt: number, answer: (text: string, used: number) => T): T | null {
  const parts: Buffer[] = [];
  let at = bodyAt;
  for (;;) {
    const lineEnd = heard.indexOf("\r\n", at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(heard.toString("latin1", at, lineEnd), 16);
    const end = lineEnd + 2 + size + 2;
    if (Number.isNaN(size)) throw new Error("a chunk of the answer has no size");
    if (heard.length < end) return null;
    if (size === 0) return answer(Buffer.concat(parts).toString("utf8"), end);
    parts.push(heard.subarray(lineEnd + 2, end - 2));
    at = end;
  }
}
