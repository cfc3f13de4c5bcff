/** Runs the transport conformance suite against the HTTP transport, by every way out that it has. */

import type { Transport } from "../../src/core/transport.ts";
import { createNodeDialler } from "../../src/transport/http/dial-node.ts";
import { type TransportFixture, transportConformance } from "../conformance/transport.ts";
import { startRawTarget, startTarget, unusedPort } from "../support/target.ts";
import { httpTransport, realClock } from "./fixtures.ts";

const WAYS_OUT: Readonly<Record<string, () => Transport>> = {
  "http by the runtime's own way": () => httpTransport(),
  "http by the way for hosts in doubt": () => httpTransport({ dialler: createNodeDialler(realClock) }),
  "http with names resolved and judged": () =>
    httpTransport({ allowPrivate: false, allowCidrs: ["127.0.0.0/8"] }),
};

for (const [name, wayOut] of Object.entries(WAYS_OUT)) transportConformance(name, () => fixture(wayOut()));

async function fixture(transport: Transport): Promise<TransportFixture> {
  const target = await startTarget();
  target.answer("/failing", 500);
  const silent = await startTarget(() => "never");
  const garbage = await startRawTarget((socket) => socket.write("SSH-2.0-OpenSSH_9.6\r\n"));
  const post = { method: "POST", headers: {}, body: "x" };
  return {
    transport,
    goodUrl: `${target.url}/good`,
    failingUrl: `${target.url}/failing`,
    silentUrl: `${silent.url}/silent`,
    deadUrl: `http://127.0.0.1:${await unusedPort()}/dead`,
    garbageUrl: `${garbage.url}/garbage`,
    undeliverable: [
      { ...post, url: "not a url" },
      { ...post, url: "" },
      { ...post, url: "ftp://example.com/" },
      { ...post, url: "http://user:secret@example.com/" },
      { ...post, url: target.url, method: "CONNECT" },
      { ...post, url: target.url, method: "post" },
      { ...post, url: target.url, method: "GET" },
      { ...post, url: target.url, headers: { "x-a": "a\r\nx-b: c" } },
      { ...post, url: target.url, headers: { "x-a": "日本" } },
      { ...post, url: target.url, headers: { "x a": "b" } },
    ],
    received: async (taskId) => target.requestsFor(taskId).map((request) => request.body),
    silentReached: async () => {
      await silent.waitFor(1);
    },
    stop: async () => {
      await Promise.all([target.stop(), silent.stop(), garbage.stop()]);
    },
  };
}
