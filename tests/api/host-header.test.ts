/** Requests without a Host header, as HTTP/1.0 sends them, and with one that names no host. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { startApi, type TestApi } from "./support.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startApi({ logLevel: "debug" });
});
afterAll(() => api.close());

/** The status of what is answered to these lines. */
function statusOf(...lines: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    let heard = "";
    const socket = connect(api.port, "127.0.0.1", () =>
      socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1"),
    );
    socket.on("error", reject);
    socket.on("data", (data) => {
      heard += data.toString("latin1");
      const status = /^HTTP\/1\.1 (\d{3})[\s\S]*\r\n\r\n/.exec(heard)?.[1];
      if (status === undefined) return;
      socket.destroy();
      resolve(Number(status));
    });
  });
}

describe("a request that names no host", () => {
  test("is answered by the route of its whole path, as a load balancer's probe by HTTP/1.0 is", async () => {
    expect(await statusOf("GET /health/ready HTTP/1.0")).toBe(200);
    expect(await statusOf("GET /version HTTP/1.0")).toBe(200);
    expect(await statusOf("GET /v1/tasks?limit=1 HTTP/1.0")).toBe(200);
  });

  test("reaches no route by a part of its path", async () => {
    for (const host of ["", "a b", "x\u00ff", "a/b", "a@b"]) {
      expect(await statusOf("GET /aaaaaaa/version HTTP/1.1", `Host: ${host}`)).toBe(404);
      expect(await statusOf("GET /aaaaaaa/admin/clients HTTP/1.1", `Host: ${host}`)).toBe(404);
    }
  });
});

test("a Host header that names no host makes no answer fail, with a query or without", async () => {
  for (const host of [
    "",
    "[",
    "%",
    "%zz",
    "x:99999",
    "x:abc",
    "1.2.3.999",
    "xn--",
    "a b",
    "\u00ff",
    "a@b",
    ":80",
  ]) {
    expect(await statusOf("GET /v1/tasks?limit=1&queue=default HTTP/1.1", `Host: ${host}`)).toBe(200);
    expect(await statusOf("GET /admin/queues/get?queue=nobody HTTP/1.1", `Host: ${host}`)).toBe(404);
    expect(await statusOf("GET /health HTTP/1.1", `Host: ${host}`)).toBe(200);
  }
  expect(api.logged.filter(({ level }) => level === "error")).toEqual([]);
});
