/** What the HTTP transport promises on every runtime that it runs on: TLS, dialling a judged address, no proxy, bounds. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pourInto, startRawTarget, startTarget, unusedPort } from "../support/target.ts";
import { certificateFor } from "./certificate.ts";
import { probe, RUNTIMES, run } from "./runtimes.ts";

const TEST_TIMEOUT_MS = 40_000;
const directory = mkdtempSync(join(tmpdir(), "task-runner-tls-"));

let named: ReturnType<typeof certificateFor>;
let addressed: ReturnType<typeof certificateFor>;

beforeAll(() => {
  named = certificateFor(directory, "good.example", "DNS:good.example");
  addressed = certificateFor(directory, "loopback", "IP:127.0.0.1");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

for (const runtime of RUNTIMES) {
  describe(`on ${runtime.name}`, () => {
    test(
      "delivers over TLS to a certificate it trusts, and refuses any other in words",
      async () => {
        await using trusted = await startTarget(undefined, addressed);
        await using misnamed = await startTarget(undefined, named);
        await using plain = await startTarget();
        const urls = [trusted.url, misnamed.url, `https://127.0.0.1:${plain.port}`];
        const deliver = urls.map((url) => ({ url: `${url}/x?token=s3cret` }));
        const trust = { NODE_EXTRA_CA_CERTS: addressed.path, DENO_CERT: addressed.path };
        const { outcomes } = await probe(runtime, { deliver }, trust);
        expect(outcomes[0]).toEqual({ kind: "delivered", status: 200, responseExcerpt: "ok" });
        for (const outcome of outcomes.slice(1)) {
          expect(outcome).toMatchObject({
            kind: "failed",
            status: null,
            permanent: false,
            hostAtFault: true,
          });
          expect(JSON.stringify(outcome)).not.toContain("s3cret");
        }
        expect(outcomes[1]).toHaveProperty("error", "TLS certificate is self-signed and not trusted");
        expect(outcomes[2]).toHaveProperty("error", expect.stringMatching(/^TLS handshake failed/));
        expect([trusted.requests.length, misnamed.requests.length]).toEqual([1, 0]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "refuses a trusted certificate of another name, and says for which name it is not valid",
      async () => {
        await using target = await startTarget(undefined, named);
        const { outcomes } = await probe(
          runtime,
          { deliver: [{ url: target.url }] },
          { NODE_EXTRA_CA_CERTS: named.path },
        );
        expect(outcomes).toMatchObject([
          { kind: "failed", error: "TLS certificate is not valid for 127.0.0.1", hostAtFault: true },
        ]);
        expect(target.requests).toEqual([]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "dials the address it is given, asks for the name, and verifies the name, kept connections included",
      async () => {
        await using secure = await startTarget(undefined, named);
        await using plain = await startTarget();
        const addresses = ["127.0.0.1"];
        const at = (host: string) => ({ url: `https://${host}:${secure.port}/p?q`, addresses });
        const { dialled } = await probe(
          runtime,
          {
            dial: [
              at("good.example"),
              at("bad.example"),
              at("good.example"),
              { url: `http://name.example:${plain.port}/p?q`, addresses },
            ],
          },
          { NODE_EXTRA_CA_CERTS: named.path },
        );
        expect(dialled).toEqual([
          "200 ok",
          "TLS certificate is not valid for bad.example",
          "200 ok",
          "200 ok",
        ]);
        expect(secure.requests.map((request) => [request.headers.host, request.path])).toEqual([
          [`good.example:${secure.port}`, "/p?q"],
          [`good.example:${secure.port}`, "/p?q"],
        ]);
        expect(plain.requests[0]?.headers.host).toBe(`name.example:${plain.port}`);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "tries the next address when one refuses the connection",
      async () => {
        await using target = await startTarget();
        const at = (host: string) => `http://${host}:${target.port}/`;
        const { dialled } = await probe(runtime, {
          dial: [
            { url: at("one.example"), addresses: ["127.0.0.77", "127.0.0.1"] },
            { url: at("two.example"), addresses: ["127.0.0.77", "127.0.0.78"] },
          ],
        });
        expect(dialled).toEqual(["200 ok", "connection refused"]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "goes straight to the target, whatever proxy the environment names",
      async () => {
        await using proxy = await startRawTarget((socket) => socket.end("HTTP/1.1 502 Proxy\r\n\r\n"));
        await using plain = await startTarget();
        await using secure = await startTarget(undefined, named);
        const names = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
        const { outcomes, dialled } = await probe(
          runtime,
          {
            deliver: [{ url: plain.url }],
            dial: [
              { url: `http://name.example:${plain.port}/`, addresses: ["127.0.0.1"] },
              { url: `https://good.example:${secure.port}/`, addresses: ["127.0.0.1"] },
            ],
          },
          {
            ...Object.fromEntries(names.map((name) => [name, proxy.url])),
            NODE_USE_ENV_PROXY: "1",
            NODE_EXTRA_CA_CERTS: named.path,
          },
        );
        expect(outcomes).toMatchObject([{ kind: "delivered", status: 200 }]);
        expect(dialled).toEqual(["200 ok", "200 ok"]);
        expect(proxy.heard).toEqual([]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "waits for a silent target as long as the delivery may take, by every way out",
      async () => {
        // Bun's own limit is five minutes: lowered to its coarsest step, of which two have passed at nine seconds.
        const seconds = runtime.name === "Bun" ? 9 : 3;
        const env = { BUN_CONFIG_HTTP_IDLE_TIMEOUT: "1" };
        const lines = await run(runtime, "silent.ts", ["--sec", String(seconds)], env);
        const waited = lines.trim().split("\n");
        expect(waited.length).toBe(8);
        for (const line of waited) expect(line).toContain('"kind":"delivered","status":200');
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "sends a delivery once, though its kept connection is closed under it, by the target or by its timeout",
      async () => {
        await using target = await startRawTarget((socket) => {
          const last = target.heard.at(-1) ?? "";
          // The head may come before the body.
          if (!last.endsWith("hello")) return;
          if (last.includes("POST /2")) socket.destroy();
          else if (!last.includes("POST /4")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        });
        const { outcomes } = await probe(runtime, {
          shared: {},
          deliver: [
            { url: `${target.url}/1` },
            { url: `${target.url}/2` },
            { url: `${target.url}/3` },
            { url: `${target.url}/4`, timeoutMs: 300 },
          ],
        });
        expect(outcomes).toMatchObject([
          { kind: "delivered" },
          { kind: "failed", error: "connection closed before the answer was complete" },
          { kind: "delivered" },
          { kind: "failed", error: "timed out after 300 ms" },
        ]);
        const heard = target.heard
          .map((text) => [...text.matchAll(/POST \/(\d)/g)].map(([, path]) => path))
          // One that carries nothing may come first, to find out whether the host is there.
          .filter((paths) => paths.length > 0);
        expect(heard).toEqual([
          ["1", "2"],
          ["3", "4"],
        ]);
      },
      TEST_TIMEOUT_MS,
    );

    test.if(process.platform === "linux")(
      "costs no memory and no files, whatever its targets do",
      async () => {
        // It ends with status 1, which rejects, where a bound is broken.
        const result = JSON.parse(await run(runtime, "soak.ts", ["--deliveries", "2400"]));
        expect(result.delivered).toBeGreaterThan(2_400);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "keeps every bound and tells every outcome alike",
      async () => {
        await using target = await startTarget(({ path }) => (path === "/silent" ? "never" : { body: "ok" }));
        target.answer("/failing", { status: 503, headers: { "retry-after": "7" }, body: "busy" });
        target.answer("/moved", { status: 302, headers: { location: `${target.url}/ok` } });
        await using garbage = await startRawTarget((socket) => socket.write("SSH-2.0-OpenSSH_9.6\r\n"));
        await using mute = await startRawTarget(() => {});
        await using drops = await startRawTarget((socket) => socket.destroy());
        await using resets = await startRawTarget((socket) => socket.resetAndDestroy());
        await using half = await startRawTarget((socket) => socket.end(), { allowHalfOpen: true });
        await using headers = await startRawTarget((socket) => {
          socket.write("HTTP/1.1 200 OK\r\n");
          pourInto(socket, `X-Filler: ${"y".repeat(1_000)}\r\n`);
        });
        await using provisional = await startRawTarget((socket) =>
          pourInto(socket, "HTTP/1.1 102 Processing\r\n\r\n".repeat(1_000)),
        );
        const poured: ReturnType<typeof pourInto>[] = [];
        await using endless = await startRawTarget((socket) => {
          socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
          poured.push(pourInto(socket, `10000\r\n${"a".repeat(65_536)}\r\n`));
        });
        const { outcomes } = await probe(runtime, {
          deliver: [
            { url: `${target.url}/ok`, headers: { "X-A": "b" } },
            { url: `${target.url}/ok`, method: "HEAD", body: null },
            { url: `${target.url}/failing` },
            { url: `${target.url}/moved` },
            { url: `${target.url}/silent`, timeoutMs: 200 },
            { url: `${target.url}/silent`, abortAfterMs: 100 },
            { url: `https://127.0.0.1:${mute.port}/`, timeoutMs: 200 },
            { url: garbage.url },
            { url: drops.url },
            { url: resets.url },
            { url: half.url },
            { url: headers.url, timeoutMs: 2_000 },
            { url: provisional.url, timeoutMs: 500 },
            { url: endless.url },
            { url: `http://127.0.0.1:${await unusedPort()}/` },
            { url: "http://nobody.invalid/" },
            { url: "http://nobody.invalid/", allowPrivate: false },
            { url: target.url, allowPrivate: false },
            { url: `http://localhost:${target.port}/`, allowPrivate: false },
          ],
        });
        expect(outcomes).toMatchObject([
          { kind: "delivered", status: 200, responseExcerpt: "ok" },
          { kind: "delivered", status: 200, responseExcerpt: null },
          { kind: "failed", status: 503, responseExcerpt: "busy", retryAfterMs: 7_000, hostAtFault: true },
          { kind: "failed", status: 302, hostAtFault: false },
          { kind: "failed", status: null, error: "timed out after 200 ms", hostAtFault: true },
          { kind: "deferred", afterMs: 0 },
          { kind: "failed", status: null, error: "timed out after 200 ms", hostAtFault: true },
          { kind: "failed", status: null, error: "the answer is not HTTP", hostAtFault: true },
          { kind: "failed", error: "connection closed before the answer was complete", hostAtFault: true },
          { kind: "failed", error: "connection closed before the answer was complete", hostAtFault: true },
          { kind: "failed", error: "connection closed before the answer was complete", hostAtFault: true },
          { kind: "failed", status: null, hostAtFault: true },
          { kind: "failed", status: null, hostAtFault: true },
          { kind: "delivered", status: 200, responseExcerpt: "a".repeat(1_024) },
          { kind: "failed", status: null, error: "connection refused", hostAtFault: true },
          { kind: "failed", error: "name does not resolve: nobody.invalid", permanent: false },
          { kind: "failed", error: "name does not resolve: nobody.invalid", permanent: false },
          { kind: "failed", error: "127.0.0.1 is a loopback address, which is not allowed", permanent: true },
          { kind: "failed", permanent: true, hostAtFault: false },
        ]);
        expect(target.requests[0]).toMatchObject({ method: "POST", text: "hello", taskId: "probe-0" });
        expect(target.requests[0]?.headers).toMatchObject({ "x-a": "b", "content-length": "5" });
        expect(poured[0]?.bytes()).toBeLessThan(32 * 1024 * 1024);
        await target.waitForGone(2);
      },
      TEST_TIMEOUT_MS,
    );
  });
}
