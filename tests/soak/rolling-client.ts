/** A client of HTTP that keeps its connection and repeats nothing by itself, so that a request that fails is seen to. */

import { connect, type Socket } from "node:net";

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** No connection came about: nothing was sent. */
export class NotConnectedError extends Error {}

/** It was closed by this side. */
export class ClosedError extends Error {}

/** A request that takes longer has failed. */
const HUNG_MS = 40_000;

interface Waiting {
  readonly answer: (answer: HttpAnswer) => void;
  readonly fail: (reason: Error) => void;
}

/** One request at a time, over one connection as long as the server keeps it. */
export class KeptConnection {
  readonly #port: number;
  #socket: Socket | null = null;
  #heard = "";
  #waiting: Waiting | null = null;

  constructor(port: number) {
    this.#port = port;
  }

  /**
   * Resolves with whatever is answered. Rejects with a {@link NotConnectedError} where nothing was sent, and with
   * another error where the connection broke under the request.
   */
  async ask(method: "GET" | "POST", path: string, body?: object): Promise<HttpAnswer> {
    const socket = this.#socket ?? (await this.#connect());
    const text = body === undefined ? "" : JSON.stringify(body);
    const head = [
      `${method} ${path} HTTP/1.1`,
      "host: balancer",
      ...(body === undefined
        ? []
        : ["content-type: application/json", `content-length: ${Buffer.byteLength(text)}`]),
    ];
    const answered = new Promise<HttpAnswer>((answer, fail) => {
      this.#waiting = { answer, fail };
    });
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${HUNG_MS} ms`)), HUNG_MS);
    socket.write(`${head.join("\r\n")}\r\n\r\n${text}`);
    try {
      const answer = await answered;
      if (answer.headers.get("connection")?.toLowerCase() === "close") this.close();
      return answer;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives up the request that is under way; the next one goes over a new connection. */
  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
    this.#waiting?.fail(new ClosedError("closed by this side"));
    this.#waiting = null;
  }

  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: this.#port });
      let reason: Error | null = null;
      socket.setEncoding("utf8");
      socket.setNoDelay(true);
      socket.once("connect", () => {
        this.#socket = socket;
        this.#heard = "";
        resolve(socket);
      });
      socket.on("error", (error) => {
        reason = error;
      });
      socket.on("data", (chunk) => this.#hear(String(chunk)));
      // A server that lets an idle connection go has not broken anything.
      socket.once("end", () => this.#lost(socket, reason));
      socket.once("close", () => {
        reject(new NotConnectedError(reason?.message ?? "no connection"));
        this.#lost(socket, reason);
      });
    });
  }

  #lost(socket: Socket, reason: Error | null): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    socket.destroy();
    this.#waiting?.fail(new Error(`the connection was lost under a request: ${reason?.message ?? "closed"}`));
    this.#waiting = null;
  }

  #hear(chunk: string): void {
    this.#heard += chunk;
    const end = this.#heard.indexOf("\r\n\r\n");
    if (end < 0) return;
    const [first = "", ...lines] = this.#heard.slice(0, end).split("\r\n");
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    const rest = Buffer.from(this.#heard.slice(end + 4));
    const length = Number(headers.get("content-length"));
    if (rest.length < length) return;
    this.#heard = "";
    this.#waiting?.answer({ status: Number(first.split(" ")[1]), headers, body: rest.toString() });
    this.#waiting = null;
  }
}
