/** Runs the transport conformance suite against the HTTP transport. */

import { transportConformance } from "../conformance/transport.ts";
import { startRawTarget, startTarget, unusedPort } from "../support/target.ts";
import { httpTransport } from "./fixtures.ts";

transportConformance("http", async () => {
  const target = await startTarget();
  target.answer("/failing", 500);
  const silent = await startTarget(() => "never");
  const garbage = await startRawTarget((socket) => socket.write("SSH-2.0-OpenSSH_9.6\r\n"));
  const post = { method: "POST", headers: {}, body: "x" };
  return {
    transport: httpTransport(),
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
});
