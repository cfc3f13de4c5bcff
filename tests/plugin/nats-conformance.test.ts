/** Runs the transport conformance suite, and what is NATS' own, against the example plugin on a real nats-server. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { deliveryTo, transportConformance, transportOf, unaborted } from "task-runner/plugin/conformance";
import natsPlugin from "../../examples/nats-jetstream/plugin.ts";
import type { Outcome, Transport } from "../../src/plugin/plugin.ts";
import { unusedPort } from "../support/target.ts";
import { type NatsServer, StreamView, startImpostor, startNats } from "./nats.ts";

let nats: NatsServer;
beforeAll(async () => {
  nats = await startNats();
});
afterAll(() => nats.stop());

let streams = 0;

/** The plugin's transport, allowed to reach `servers`. */
function transportFor(servers: readonly string[], token?: string): Promise<Transport> {
  return transportOf(natsPlugin, {
    NATS_SERVERS: servers.join(","),
    NATS_TLS: false,
    ...(token === undefined ? {} : { NATS_TOKEN: token }),
  });
}

transportConformance("nats-jetstream", async () => {
  streams++;
  const subject = `good${streams}`;
  const stream = await StreamView.of(nats.address, `STREAM${streams}`, [subject]);
  const connected = Promise.withResolvers<void>();
  const silent = await startImpostor(() => connected.resolve());
  const garbage = await startImpostor((socket) => socket.write("SSH-2.0-OpenSSH_9.6\r\n"));
  const deadAt = `127.0.0.1:${await unusedPort()}`;
  const goodUrl = `nats://${nats.address}/${subject}`;
  const post = { method: "POST", headers: {}, body: "x", url: goodUrl };
  return {
    transport: await transportFor([nats.address, silent.address, garbage.address, deadAt]),
    goodUrl,
    failingUrl: `nats://${nats.address}/nobody.stores.this`,
    silentUrl: `nats://${silent.address}/x`,
    deadUrl: `nats://${deadAt}/x`,
    garbageUrl: `nats://${garbage.address}/x`,
    undeliverable: [
      { ...post, url: "not a url" },
      { ...post, url: "nats:orders" },
      { ...post, url: "nats:///orders" },
      { ...post, url: "nats://elsewhere:4222/orders" },
      { ...post, url: `nats://user:secret@${nats.address}/orders` },
      { ...post, url: `nats://${nats.address}/` },
      { ...post, url: `nats://${nats.address}/orders?x=1` },
      { ...post, url: `nats://${nats.address}/orders#x` },
      ...["orders.>", "*.created", "orders..x", ".orders", "a%20b", "a%0d%0ab", "%ff", "a".repeat(256)].map(
        (path) => ({
          ...post,
          url: `nats://${nats.address}/${path}`,
        }),
      ),
      ...["$JS.API.STREAM.DELETE.ORDERS", "%24SYS.REQ", "_INBOX.x", "$js.api"].map((path) => ({
        ...post,
        url: `nats://${nats.address}/${path}`,
      })),
      { ...post, method: "GET", body: null },
      { ...post, headers: { "Nats-Rollup": "all" } },
      { ...post, headers: { "nats-expected-last-sequence": "0" } },
      { ...post, headers: { "a:b": "c" } },
      { ...post, headers: { a: "b\r\nNats-Rollup: all" } },
    ],
    received: async (taskId) =>
      (await stream.stored())
        .filter((message) => message.header("X-Task-Id") === taskId)
        .map(({ body }) => body),
    silentReached: () => connected.promise,
    stop: async () => {
      await Promise.all([stream.close(), silent.stop(), garbage.stop()]);
    },
  };
});

describe("the NATS example", () => {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  async function opened(name: string, limits: { maxMessages?: number } = {}) {
    const stream = await StreamView.of(nats.address, name, [`${name}.>`], limits);
    const transport = await transportFor([nats.address]);
    closing.push(
      () => transport.close(),
      () => stream.close(),
    );
    return { stream, transport, url: `nats://${nats.address}/${name}.created` };
  }

  const deliver = (transport: Transport, url: string, changes: Parameters<typeof deliveryTo>[1] = {}) =>
    transport.deliver(deliveryTo(url, changes), unaborted());

  function excerptOf(outcome: Outcome): unknown {
    return JSON.parse(
      outcome.kind === "delivered" ? (outcome.responseExcerpt ?? "") : JSON.stringify(outcome),
    );
  }

  test("a message carries the task's headers and what is told of the task, and its outcome where it is stored", async () => {
    const { stream, transport, url } = await opened("HEADERS");
    const outcome = await deliver(transport, url, {
      taskId: "t-1",
      queue: "mail",
      attempt: 3,
      fence: 7,
      headers: { "content-type": "text/plain", "x-task-id": "forged" },
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    expect(excerptOf(outcome)).toEqual({ stream: "HEADERS", seq: 1, duplicate: false });
    const [message] = await stream.stored();
    const names = [
      "content-type",
      "X-Task-Id",
      "X-Task-Queue",
      "X-Task-Attempt",
      "X-Task-Fence",
      "traceparent",
    ];
    expect(names.map((name) => message?.header(name))).toEqual([
      "text/plain",
      "t-1",
      "mail",
      "3",
      "7",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ]);
    expect(message?.header("x-task-id")).toBe("");
    expect(message?.subject).toBe("HEADERS.created");
    expect(message?.header("webhook-signature")).toBe("");
  });

  test("a second attempt is not stored twice", async () => {
    const { stream, transport, url } = await opened("TWICE");
    await deliver(transport, url, { taskId: "same", attempt: 1 });
    const again = await deliver(transport, url, { taskId: "same", attempt: 2 });
    expect(excerptOf(again)).toEqual({ stream: "TWICE", seq: 1, duplicate: true });
    expect(await stream.stored()).toHaveLength(1);
  });

  test("a full stream is a failure with the server's words and status, through no fault of the host", async () => {
    const { transport, url } = await opened("FULL", { maxMessages: 1 });
    expect((await deliver(transport, url)).kind).toBe("delivered");
    expect(await deliver(transport, url)).toMatchObject({
      kind: "failed",
      status: 503,
      error: "JetStream refused the message: maximum messages exceeded",
      permanent: false,
      hostAtFault: false,
    });
  });

  test("a message larger than the server takes is refused for good", async () => {
    const { stream, transport, url } = await opened("LARGE");
    const outcome = await deliver(transport, url, { body: new Uint8Array(1_048_576) });
    expect(outcome).toMatchObject({ kind: "failed", permanent: true, hostAtFault: false });
    expect(await deliver(transport, url)).toMatchObject({ kind: "delivered" });
    expect(await stream.stored()).toHaveLength(1);
  });

  test("a task of a client that signs is signed as over HTTP", async () => {
    const { stream, transport, url } = await opened("SIGNED");
    const secret = `whsec_${Buffer.from("0123456789abcdef0123456789abcdef").toString("base64")}`;
    await deliver(transport, url, { signingSecrets: [secret], taskId: "signed" });
    const [message] = await stream.stored();
    expect(message?.header("webhook-id")).toBe("signed");
    expect(message?.header("webhook-signature")).toStartWith("v1,");
  });

  test("a login that the server refuses fails with its words, and never shows the token", async () => {
    const locked = await startNats({ token: "right-token" });
    closing.push(() => locked.stop());
    const url = `nats://${locked.address}/x`;
    for (const token of [undefined, "wrong-token"]) {
      const transport = await transportFor([locked.address], token);
      closing.push(() => transport.close());
      const outcome = await deliver(transport, url);
      expect(outcome).toMatchObject({ kind: "failed", permanent: false, hostAtFault: true });
      expect(JSON.stringify(outcome)).toMatch(/authorization/i);
      expect(JSON.stringify(outcome)).not.toContain("wrong-token");
    }
    const transport = await transportFor([locked.address], "right-token");
    closing.push(() => transport.close());
    expect(await deliver(transport, url)).toMatchObject({
      kind: "failed",
      error: "no stream takes the subject x",
    });
  });

  test("a server that was restarted is connected to anew, and what it was not there for fails at once", async () => {
    const first = await startNats();
    const transport = await transportFor([first.address]);
    const url = `nats://${first.address}/x`;
    closing.push(() => transport.close());
    expect(await deliver(transport, url)).toMatchObject({ hostAtFault: false });
    await first.stop();
    expect(await deliver(transport, url)).toMatchObject({ kind: "failed", hostAtFault: true });
    const second = await startNats({ port: first.port });
    closing.push(() => second.stop());
    expect(await deliver(transport, url)).toMatchObject({ hostAtFault: false });
  });
});
