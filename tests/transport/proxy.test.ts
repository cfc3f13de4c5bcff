/** What leaves through EGRESS_PROXY_URL, on every runtime: tunnels and whole URLs, judged before and verified behind. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deliveryTo, unaborted } from "../conformance/transport.ts";
import { startTarget, unusedPort } from "../support/target.ts";
import { certificateFor } from "./certificate.ts";
import { httpTransport } from "./fixtures.ts";
import { startProxy } from "./proxy-server.ts";
import { probe, RUNTIMES } from "./runtimes.ts";

const TEST_TIMEOUT_MS = 40_000;
const directory = mkdtempSync(join(tmpdir(), "task-runner-proxy-"));
let named: ReturnType<typeof certificateFor>;
beforeAll(() => {
  named = certificateFor(directory, "good.example", "DNS:good.example");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

for (const runtime of RUNTIMES) {
  describe(`on ${runtime.name}`, () => {
    test(
      "an http target is asked for by its whole URL, over a connection that is kept, and never sees the login",
      async () => {
        await using target = await startTarget();
        await using proxy = await startProxy({ login: "us er:p@ss:w" });
        const proxyUrl = `http://us%20er:p%40ss%3Aw@127.0.0.1:${proxy.port}`;
        const url = `http://name.example:${target.port}/p?q#fragment`;
        const headers = { "Proxy-Authorization": "Basic forged" };
        const { outcomes } = await probe(runtime, {
          shared: { proxyUrl },
          deliver: [{ url, headers }, { url: `${url}2` }],
        });
        expect(outcomes).toMatchObject([
          { kind: "delivered", responseExcerpt: "ok" },
          { kind: "delivered", responseExcerpt: "ok" },
        ]);
        expect(proxy.asked).toEqual(Array(2).fill(`POST http://name.example:${target.port}/p?q`));
        expect(proxy.accepted()).toBe(1);
        expect(target.requests[0]).toMatchObject({ text: "hello", path: "/p?q" });
        expect(target.requests[0]?.headers).toMatchObject({ host: `name.example:${target.port}` });
        expect(JSON.stringify(target.requests)).not.toMatch(/proxy-auth|forged/i);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "an https target is reached by a tunnel, which is kept, and its certificate is held against its name",
      async () => {
        await using target = await startTarget(undefined, named);
        await using proxy = await startProxy({ login: "user:pass" });
        const proxyUrl = `http://user:pass@127.0.0.1:${proxy.port}`;
        const at = (host: string) => ({ url: `https://${host}:${target.port}/p?q` });
        const { outcomes } = await probe(
          runtime,
          {
            shared: { proxyUrl },
            deliver: [at("good.example"), at("good.example"), at("bad.example"), at("127.0.0.1")],
          },
          { NODE_EXTRA_CA_CERTS: named.path },
        );
        expect(outcomes).toMatchObject([
          { kind: "delivered", responseExcerpt: "ok" },
          { kind: "delivered", responseExcerpt: "ok" },
          { kind: "failed", error: "TLS certificate is not valid for bad.example", hostAtFault: true },
          { kind: "failed", error: "TLS certificate is not valid for 127.0.0.1", hostAtFault: true },
        ]);
        expect(proxy.asked).toEqual(
          ["good.example", "bad.example", "127.0.0.1"].map((host) => `CONNECT ${host}:${target.port}`),
        );
        expect(target.requests.map((request) => request.headers.host)).toEqual(
          Array(2).fill(`good.example:${target.port}`),
        );
        expect(JSON.stringify(target.requests)).not.toMatch(/proxy-auth/i);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "a certificate that nobody trusts fails in words through a tunnel too",
      async () => {
        await using target = await startTarget(undefined, named);
        await using proxy = await startProxy();
        const { outcomes } = await probe(runtime, {
          shared: { proxyUrl: `http://127.0.0.1:${proxy.port}` },
          deliver: [{ url: `https://good.example:${target.port}/` }],
        });
        expect(outcomes).toMatchObject([{ error: "TLS certificate is self-signed and not trusted" }]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "what the proxy does wrong is told as its own, and not held against the target unless it says so",
      async () => {
        await using target = await startTarget();
        await using strict = await startProxy({ login: "user:pass" });
        await using forbidding = await startProxy({ tunnels: 403 });
        await using unable = await startProxy({ tunnels: 503 });
        await using dropping = await startProxy({ tunnels: "drop" });
        await using silent = await startProxy({ tunnels: "silent" });
        const outcomeOf = async (port: number, url: string) =>
          (
            await probe(runtime, {
              shared: { proxyUrl: `http://user:s3cret@127.0.0.1:${port}` },
              deliver: [{ url, timeoutMs: 1_500 }],
            })
          ).outcomes[0];
        const [http, https] = [`http://name.example:${target.port}/`, `https://name.example:${target.port}/`];
        const outcomes = await Promise.all([
          outcomeOf(strict.port, http),
          outcomeOf(strict.port, https),
          outcomeOf(forbidding.port, https),
          outcomeOf(unable.port, https),
          outcomeOf(dropping.port, https),
          outcomeOf(silent.port, https),
          outcomeOf(await unusedPort(), http),
          outcomeOf(await unusedPort(), https),
        ]);
        const refused407 = "the egress proxy answered 407 Proxy Authentication Required";
        const unreached = "the egress proxy cannot be reached: connection refused";
        expect(outcomes).toMatchObject([
          { kind: "failed", error: refused407, hostAtFault: false, permanent: false },
          { kind: "failed", error: refused407, hostAtFault: false, permanent: false },
          { kind: "failed", error: "the egress proxy answered 403 Forbidden", hostAtFault: false },
          { kind: "failed", error: "the egress proxy answered 503 Service Unavailable", hostAtFault: true },
          { kind: "failed", error: "the egress proxy broke off" },
          { kind: "failed", error: "timed out after 1.5 s" },
          { kind: "failed", error: unreached, hostAtFault: false, permanent: false },
          { kind: "failed", error: unreached, hostAtFault: false, permanent: false },
        ]);
        expect(JSON.stringify(outcomes)).not.toContain("s3cret");
        expect(target.requests).toEqual([]);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "a worker's abort and a target's silence end the tunnel",
      async () => {
        await using target = await startTarget(() => "never", named);
        await using proxy = await startProxy();
        const url = `https://good.example:${target.port}/`;
        const { outcomes } = await probe(
          runtime,
          {
            shared: { proxyUrl: `http://127.0.0.1:${proxy.port}` },
            deliver: [
              { url, timeoutMs: 500 },
              { url, abortAfterMs: 300 },
            ],
          },
          { NODE_EXTRA_CA_CERTS: named.path },
        );
        expect(outcomes).toMatchObject([
          { kind: "failed", error: "timed out after 500 ms" },
          { kind: "deferred" },
        ]);
        await target.waitForGone(2);
      },
      TEST_TIMEOUT_MS,
    );

    test(
      "the guard judges before the proxy is asked",
      async () => {
        await using proxy = await startProxy();
        const urls = [
          "http://169.254.169.254/",
          "http://0x7f.1/",
          "https://[::ffff:10.0.0.1]/",
          "http://localhost/",
          "http://vault.internal/",
          "http://vault/",
        ];
        const { outcomes } = await probe(runtime, {
          shared: { allowPrivate: false, proxyUrl: `http://127.0.0.1:${proxy.port}` },
          deliver: urls.map((url) => ({ url })),
        });
        for (const outcome of outcomes) expect(outcome).toMatchObject({ kind: "failed", permanent: true });
        expect(outcomes.length).toBe(urls.length);
        expect(proxy.asked).toEqual([]);
      },
      TEST_TIMEOUT_MS,
    );
  });
}

describe("a name and the guard, where there is a proxy", () => {
  const deliverVia = async (resolve: () => Promise<readonly string[]>, host = "name.example") => {
    await using target = await startTarget();
    await using proxy = await startProxy();
    const proxyUrl = `http://127.0.0.1:${proxy.port}`;
    const transport = httpTransport({ allowPrivate: false, resolve, proxyUrl });
    const outcome = await transport.deliver(deliveryTo(`http://${host}:${target.port}/`), unaborted());
    await transport.close();
    return { outcome, asked: proxy.asked.length };
  };

  test("one that is public here is handed on", async () => {
    expect(await deliverVia(async () => ["8.8.8.8"])).toMatchObject({
      outcome: { kind: "delivered" },
      asked: 1,
    });
  });

  test("one that is private here is not", async () => {
    expect(await deliverVia(async () => ["8.8.8.8", "10.0.0.1"])).toMatchObject({
      outcome: { permanent: true, error: "name.example resolves to a private address, which is not allowed" },
      asked: 0,
    });
  });

  test("one that nobody knows here is handed on, for the proxy may", async () => {
    const outcome = await deliverVia(() => Promise.reject(new Error("ENOTFOUND")));
    expect(outcome).toMatchObject({ outcome: { kind: "delivered" }, asked: 1 });
  });

  for (const host of ["vault.internal", "printer.local", "vault"]) {
    test(`${host} that nobody knows here is not: it can be no public name`, async () => {
      const outcome = await deliverVia(() => Promise.reject(new Error("ENOTFOUND")), host);
      expect(outcome).toMatchObject({
        outcome: { permanent: true, error: `${host} is a name of the local network, which is not allowed` },
        asked: 0,
      });
    });
  }
});

test("a proxy's connections are kept for the next delivery, and let go with the transport", async () => {
  await using target = await startTarget(undefined, named);
  await using plain = await startTarget();
  await using proxy = await startProxy();
  const transport = httpTransport({ proxyUrl: `http://127.0.0.1:${proxy.port}` });
  for (let i = 0; i < 20; i++) {
    const url = i % 2 === 0 ? `http://name.example:${plain.port}/` : `https://good.example:${target.port}/`;
    await transport.deliver(deliveryTo(url), unaborted());
  }
  expect(plain.requests.length).toBe(10);
  // Nobody trusts the certificate here, so no tunnel is worth keeping.
  expect(proxy.open()).toBeLessThanOrEqual(2);
  await transport.close();
  for (let i = 0; i < 100 && proxy.open() > 0; i++) await new Promise((later) => setTimeout(later, 10));
  expect(proxy.open()).toBe(0);
});
