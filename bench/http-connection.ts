/** One keep-alive connection over plain TCP, so that generating load costs little of the cores it shares. */

import type { Socket } from "bun";
import { MessageReader } from "./http-framing.ts";

export class HttpConnection {
  readonly #socket: Socket<undefined>;
  /** What the kernel did not take yet. */
  #unsent: Buffer | null = null;

  private constructor(socket: Socket<undefined>) {
    this.#socket = socket;
  }

  /** Connects to a port of this machine; `onResponse` gets each whole response, `onEnd` why the connection ended. */
  static async open(
    port: number,
    onResponse: (response: Buffer, connection: HttpConnection) => void,
    onEnd: (reason: string) => void,
  ): Promise<HttpConnection> {
    // Responses come only after a request was sent, so after `connection` is there.
    let connection: HttpConnection | null = null;
    const reader = new MessageReader((response) => {
      if (connection !== null) onResponse(response, connection);
    });
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data: (_socket, chunk) => reader.push(chunk),
        drain: () => connection?.flush(),
        close: () => onEnd("the server closed the connection"),
        error: (_socket, error) => onEnd(error.message),
      },
    });
    connection = new HttpConnection(socket);
    return connection;
  }

  /** Sends a request; the one before must have been answered. */
  send(request: Buffer): void {
    const written = this.#socket.write(request);
    if (written < request.length) this.#unsent = request.subarray(Math.max(written, 0));
  }

  flush(): void {
    const unsent = this.#unsent;
    this.#unsent = null;
    if (unsent !== null) this.send(unsent);
  }

  close(): void {
    this.#socket.end();
  }
}
