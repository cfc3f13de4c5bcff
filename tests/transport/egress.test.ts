/** What the rules of the way out change: blocks that are allowed or denied, and the hosts of a client. */

import { describe, expect, test } from "bun:test";
import { Guard, type GuardRules } from "../../src/transport/http/guard.ts";
import { RESOLVE_TIMEOUT_MS } from "../../src/transport/http/resolve.ts";
import { deliveryTo, unaborted } from "../conformance/transport.ts";
import { startTarget } from "../support/target.ts";
import { httpTransport } from "./fixtures.ts";

const DENIED = "an address that EGRESS_DENY_CIDRS holds";

describe("an address", () => {
  const judged = (rules: Partial<GuardRules>, address: string) =>
    new Guard({ allowPrivate: false, ...rules }).forbidsAddress(address);

  test.each([
    // An allowed block opens itself, in whatever form it comes, and nothing beside it.
    [{ allowCidrs: ["10.0.0.0/8"] }, "10.255.0.1", null],
    [{ allowCidrs: ["10.0.0.0/8"] }, "11.0.0.1", null],
    [{ allowCidrs: ["10.0.0.0/8"] }, "192.168.0.1", "a private address"],
    [{ allowCidrs: ["10.0.0.0/8"] }, "169.254.169.254", "a link-local address"],
    [{ allowCidrs: ["10.0.0.0/8"] }, "::ffff:10.0.0.1", null],
    [{ allowCidrs: ["::ffff:10.0.0.0/104"] }, "10.0.0.1", null],
    [{ allowCidrs: ["10.0.0.0/8"] }, "64:ff9b::a00:1", null],
    [{ allowCidrs: ["10.0.0.0/8"] }, "64:ff9b::7f00:1", "a loopback address"],
    [{ allowCidrs: ["10.0.0.0/8"] }, "2002:a00:1::", null],
    // Nothing leads to what these carry, so they are what they are.
    [{ allowCidrs: ["10.0.0.0/8"] }, "::10.0.0.1", "a reserved address"],
    [{ allowCidrs: ["10.0.0.0/8"] }, "2001:0:a00:1::80ff:fffe", "a loopback address"],
    [{ allowCidrs: ["fd00::/8"] }, "fd12::1", null],
    [{ allowCidrs: ["fd00::/8"] }, "fe80::1", "a link-local address"],
    [{ allowCidrs: ["127.0.0.1/32"] }, "127.0.0.1", null],
    [{ allowCidrs: ["127.0.0.1/32"] }, "127.0.0.2", "a loopback address"],
    [{ allowCidrs: ["168.63.129.16/32"] }, "168.63.129.16", null],
    [{}, "168.63.129.16", "a cloud's metadata address"],
    [{}, "168.63.129.17", null],
    // A denied one wins over all, through whatever might lead there.
    [{ denyCidrs: ["8.8.0.0/16"] }, "8.8.8.8", DENIED],
    [{ denyCidrs: ["8.8.0.0/16"] }, "8.9.8.8", null],
    [{ denyCidrs: ["10.1.0.0/16"], allowCidrs: ["10.0.0.0/8"] }, "10.1.2.3", DENIED],
    [{ denyCidrs: ["10.1.0.0/16"], allowCidrs: ["10.0.0.0/8"] }, "10.2.2.3", null],
    [{ denyCidrs: ["10.0.0.0/8"], allowCidrs: ["10.1.0.0/16"] }, "10.1.2.3", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "10.1.2.3", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "192.168.0.1", null],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "::ffff:10.1.2.3", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "::10.1.2.3", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "::ffff:0:10.1.2.3", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "64:ff9b::a01:203", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "64:ff9b:1::a01:203", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "64:ff9b:1:a01:0:203::", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "2002:a01:203::", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "2001:0:808:808::f5fe:fdfc", DENIED],
    [{ denyCidrs: ["10.0.0.0/8"], allowPrivate: true }, "2606:4700::5efe:a01:203", DENIED],
    [{ denyCidrs: ["::/0"], allowPrivate: true }, "2606:4700::1111", DENIED],
    [{ denyCidrs: ["::/0"], allowPrivate: true }, "127.0.0.1", null],
    [{ allowPrivate: true, denyCidrs: ["8.8.8.8/32"] }, "nonsense", "an unreadable address"],
  ] as const)("under %j: %s is %p", (rules, address, verdict) => {
    expect(judged(rules, address)).toBe(verdict);
  });
});

describe("names of the local network", () => {
  const url = "http://vault.internal:8200/";

  test("are looked at by their address where some private address is allowed", async () => {
    const asked: string[] = [];
    const resolve = async (name: string) => {
      asked.push(name);
      return ["10.9.9.9"];
    };
    const transport = httpTransport({ allowPrivate: false, allowCidrs: ["10.0.0.0/16"], resolve });
    expect(transport.check(deliveryTo(url).target)).toEqual([]);
    expect(await transport.deliver(deliveryTo(url), unaborted())).toMatchObject({
      permanent: true,
      error: "vault.internal resolves to a private address, which is not allowed",
    });
    expect(asked).toEqual(["vault.internal"]);
  });

  test("are delivered to where theirs is allowed", async () => {
    await using target = await startTarget();
    const transport = httpTransport({
      allowPrivate: false,
      allowCidrs: ["127.0.0.1/32"],
      resolve: async () => ["127.0.0.1"],
    });
    const here = `http://vault.internal:${target.port}/v1`;
    expect((await transport.deliver(deliveryTo(here), unaborted())).kind).toBe("delivered");
    expect(target.requests[0]?.headers.host).toBe(`vault.internal:${target.port}`);
  });
});

describe("a resolver that does not answer", () => {
  const timers: { readonly delayMs: number; readonly fire: () => void }[] = [];
  const clock = {
    now: () => 0,
    monoMs: () => 0,
    after: (delayMs: number, fire: () => void) => {
      const timer = { delayMs, fire };
      timers.push(timer);
      return () => {
        timers.splice(timers.indexOf(timer), 1);
      };
    },
  };

  test("is given up long before the delivery is, and asked once for all who wait for it", async () => {
    let asked = 0;
    const resolve = () => {
      asked++;
      return new Promise<never>(() => {});
    };
    const transport = httpTransport({ allowPrivate: false, resolve, clock });
    const round = async () => {
      const waiting = [1, 2, 3].map(() =>
        transport.deliver(deliveryTo("http://name.example/", { timeoutMs: 1_800_000 }), unaborted()),
      );
      expect(timers.length).toBe(6);
      for (const { delayMs, fire } of [...timers]) if (delayMs === RESOLVE_TIMEOUT_MS) fire();
      for (const outcome of await Promise.all(waiting)) {
        expect(outcome).toMatchObject({
          kind: "failed",
          permanent: false,
          hostAtFault: true,
          error: "name did not resolve within 10 s: name.example",
        });
      }
      expect(timers).toEqual([]);
    };
    await round();
    expect(asked).toBe(1);
    await round();
    expect(asked).toBe(2);
  });
});

describe("the hosts that a client may have called", () => {
  test("are looked at when a task is delivered, and the list is named", async () => {
    await using target = await startTarget();
    const transport = httpTransport();
    const deliver = (host: string, allowedHosts: readonly string[] | null) =>
      transport.deliver(deliveryTo(`http://${host}:${target.port}/`, { allowedHosts }), unaborted());
    for (const allowed of [null, ["127.0.0.1"], ["example.com", "127.0.0.1"]]) {
      expect((await deliver("127.0.0.1", allowed)).kind).toBe("delivered");
    }
    expect((await deliver("0x7f.1", ["127.0.0.1"])).kind).toBe("delivered");
    expect((await deliver("localhost", ["localhost"])).kind).toBe("delivered");
    const arrived = target.requests.length;
    for (const allowed of [[], ["example.com"], ["*.0.0.1"], ["localhost"]]) {
      expect(await deliver("127.0.0.1", allowed)).toEqual({
        kind: "failed",
        status: null,
        error: 'host "127.0.0.1" is not among the client\'s allowed_hosts',
        cause: "forbidden",
        responseExcerpt: null,
        permanent: true,
        retryAfterMs: null,
        hostAtFault: false,
      });
    }
    expect(target.requests.length).toBe(arrived);
  });

  test("open nothing that the guard forbids", async () => {
    const transport = httpTransport({ allowPrivate: false });
    const delivery = deliveryTo("http://127.0.0.1/", { allowedHosts: ["127.0.0.1"] });
    expect(await transport.deliver(delivery, unaborted())).toMatchObject({
      permanent: true,
      error: "127.0.0.1 is a loopback address, which is not allowed",
    });
  });
});
