/** Which URLs may be called and which addresses dialled: the guard's table, and names that resolve where they must not. */

import { describe, expect, test } from "bun:test";
import { createDialler, type Dialler } from "../../src/transport/http/dial.ts";
import { Guard } from "../../src/transport/http/guard.ts";
import { deliveryTo, unaborted } from "../conformance/transport.ts";
import { startTarget } from "../support/target.ts";
import { httpTransport, realClock } from "./fixtures.ts";

const guarded = httpTransport({ allowPrivate: false });
const open = httpTransport({ allowPrivate: true });
const problemsOf = (url: string, transport = guarded) => transport.check(deliveryTo(url).target);

const FORBIDDEN: Readonly<Record<string, readonly string[]>> = {
  "this machine": [
    "http://127.0.0.1/",
    "http://127.0.0.1:8080/x?y#z",
    "https://127.255.255.254/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]:80/",
    "http://localhost/",
    "http://LOCALHOST:3000/",
    "http://a.b.localhost/",
  ],
  "odd spellings of this machine": [
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7F.0x0.0x0.0x1/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0x0/",
    "http://127.0.0.1./",
    "http://2130706433./",
    "http://%31%32%37.0.0.1/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.0.0.1/",
    "http:127.0.0.1/",
    "http:/127.0.0.1/",
    "http:///127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/",
    "http://127.0.0.1\\@example.com/",
    "http://localhost./",
    "http://localhost../",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://%6cocalhost/",
  ],
  "private networks": [
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://192.168.255.255/",
    "http://0xc0a80001/",
    "http://3232235521/",
    "http://012.0.0.1/",
    "http://100.64.0.1/",
    "http://100.127.255.255/",
    "http://[fc00::1]/",
    "http://[fd12:3456:789a::1]/",
    "http://[fec0::1]/",
  ],
  "metadata services": [
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://metadata.google.internal/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
  ],
  "link-local, multicast, broadcast": [
    "http://169.254.0.1/",
    "http://[fe80::1]/",
    "http://[febf::1]/",
    "http://224.0.0.1/",
    "http://239.255.255.255/",
    "http://255.255.255.255/",
    "http://4294967295/",
    "http://[ff02::1]/",
    "http://[ff0e::1]/",
  ],
  "reserved and documentation": [
    "http://192.0.0.1/",
    "http://192.0.2.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://198.18.0.1/",
    "http://198.19.255.255/",
    "http://240.0.0.1/",
    "http://254.1.1.1/",
    "http://192.88.99.1/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
    "http://[2001:2::1]/",
    "http://[2001:10::1]/",
    "http://[2001:20::1]/",
    "http://[4000::1]/",
    "http://[::2]/",
  ],
  "IPv6 that carries a forbidden IPv4 address": [
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:10.0.0.1]/",
    "http://[::ffff:192.168.1.1]/",
    "http://[::127.0.0.1]/",
    "http://[::7f00:1]/",
    "http://[::10.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b::192.0.2.1]/",
    "http://[64:ff9b:1::8.8.8.8]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::1]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2002:c0a8:101::1]/",
    // Teredo: the server in clear, the client's bits flipped (80ff:fffe is 127.0.0.1).
    "http://[2001:0:7f00:1:0:0:f7f7:f7f7]/",
    "http://[2001:0:808:808:0:0:80ff:fffe]/",
    "http://[2001:0:808:808:0:0:f5ff:fffe]/",
  ],
  "names of the local network": [
    "http://vault.internal/",
    "http://vault.internal.:8200/",
    "http://internal/",
    "http://printer.local/",
    "http://PRINTER.LOCAL/",
    "http://api.default.svc.cluster.local/",
    "http://workload.gvc.cpln.local:8080/",
  ],
};

const ALLOWED = [
  "http://example.com/",
  "https://example.com:8443/a/b?c=d#e",
  "https://EXAMPLE.com./",
  "https://bücher.example/",
  "http://1.1.1.1/",
  "http://8.8.8.8:53/",
  "http://134744072/",
  "http://9.255.255.255/",
  "http://11.0.0.1/",
  "http://126.255.255.255/",
  "http://128.0.0.1/",
  "http://172.15.255.255/",
  "http://172.32.0.1/",
  "http://192.167.255.255/",
  "http://192.169.0.1/",
  "http://100.63.255.255/",
  "http://100.128.0.1/",
  "http://169.253.255.255/",
  "http://223.255.255.255/",
  "http://[2606:4700:4700::1111]/",
  "http://[2a00:1450:4001:800::200e]:8080/",
  "http://[::ffff:8.8.8.8]/",
  "http://[64:ff9b::8.8.8.8]/",
  "http://[2002:808:808::1]/",
  "http://notlocalhost/",
  "http://localhost.example.com/",
  "http://mylocal/",
  "http://internal.example.com/",
  "http://local.example.com/",
];

const MALFORMED = [
  "",
  " ",
  "example.com",
  "//example.com/",
  "/path",
  "http://",
  "http://?",
  "http://256.1.1.1/",
  "http://1.2.3.4.5/",
  "http://09.1.1.1/",
  "http://4294967296/",
  "http://foo.1/",
  "http://[::1/",
  "http://[fe80::1%25eth0]/",
  "http://[::1]./",
  "http://a b/",
  "http://exam\nple.com/",
  "http://exam\tple.com/",
  " http://example.com/",
  "http://example.com/ ",
  "http://example.com/a b",
  "http://a%00b/",
  "http://127.0.0.1%00.example.com/",
  "http://example.com:99999/",
  "http://example.com:0/",
  "http://example.com:-1/",
];

const OTHER_SCHEMES = [
  "ftp://example.com/",
  "file:///etc/passwd",
  "gopher://example.com/",
  "data:text/plain,hello",
  "blob:http://example.com/1",
  "s3://bucket/key",
  "ws://example.com/",
  "javascript:alert(1)",
  "unix:/var/run/docker.sock",
];

const WITH_CREDENTIALS = [
  "http://user:secret@example.com/",
  "http://secret@example.com/",
  "http://:secret@example.com/",
  "http://user%40x:secret@example.com/",
  "http://example.com:secret@example.org/",
];

describe("check, where private addresses are not allowed", () => {
  for (const [what, urls] of Object.entries(FORBIDDEN)) {
    for (const url of urls) {
      test(`forbids ${what}: ${url}`, () => {
        expect(problemsOf(url)).toEqual([
          { path: "task.url", message: expect.stringContaining("not allowed"), forbidden: true },
        ]);
      });
    }
  }

  for (const url of ALLOWED) {
    test(`allows ${url}`, () => expect(problemsOf(url)).toEqual([]));
  }
});

describe("check, whatever is allowed", () => {
  for (const transport of [guarded, open]) {
    const mode = transport === guarded ? "guarded" : "open";
    for (const url of MALFORMED) {
      test(`finds ${JSON.stringify(url)} malformed (${mode})`, () => {
        expect(problemsOf(url, transport)).toMatchObject([{ path: "task.url", forbidden: false }]);
      });
    }
    for (const url of OTHER_SCHEMES) {
      test(`forbids ${url} (${mode})`, () => {
        expect(problemsOf(url, transport)).toMatchObject([{ path: "task.url", forbidden: true }]);
      });
    }
    for (const url of WITH_CREDENTIALS) {
      test(`forbids credentials, without repeating them: ${url} (${mode})`, () => {
        const problems = problemsOf(url, transport);
        expect(problems).toMatchObject([{ path: "task.url", forbidden: true }]);
        expect(JSON.stringify(problems)).not.toContain("secret");
      });
    }
  }

  test("lets private addresses through where they are allowed", () => {
    for (const url of Object.values(FORBIDDEN).flat()) expect(problemsOf(url, open), url).toEqual([]);
  });

  test("tells every problem of a target at once", () => {
    const target = { url: "http://10.0.0.1/", method: "TRACE", headers: { "a b": "", c: "\n" }, body: null };
    expect(guarded.check(target).map((problem) => problem.path)).toEqual([
      "task.url",
      "task.method",
      "task.headers",
      "task.headers.c",
    ]);
  });
});

describe("an address that a name gave", () => {
  for (const [address, forbidden] of [
    ["127.0.0.1", "a loopback address"],
    ["::1", "a loopback address"],
    ["fe80::1%eth0", "a link-local address"],
    ["::ffff:10.0.0.1", "a private address"],
    ["100.64.0.1", "a shared (carrier-grade NAT) address"],
    ["192.0.2.1", "a reserved address"],
    ["", "an unreadable address"],
    ["localhost", "an unreadable address"],
    ["8.8.8.8", null],
    ["2606:4700::1111", null],
  ] as const) {
    test(`is judged: ${JSON.stringify(address)}`, () => {
      expect(new Guard({ allowPrivate: false }).forbidsAddress(address)).toBe(forbidden);
    });
  }
});

describe("at dispatch, where private addresses are not allowed", () => {
  const PUBLIC = "8.8.8.8";
  const deliverVia = (addresses: readonly string[], url = "http://name.example/") => {
    const asked: string[] = [];
    const resolve = async (name: string) => {
      asked.push(name);
      return addresses;
    };
    const transport = httpTransport({ allowPrivate: false, resolve });
    return transport.deliver(deliveryTo(url), unaborted()).then((outcome) => ({ outcome, asked }));
  };

  for (const addresses of [
    ["127.0.0.1"],
    ["::1"],
    [PUBLIC, "10.0.0.1"],
    ["169.254.169.254", PUBLIC],
    ["::ffff:127.0.0.1"],
  ]) {
    test(`a name that resolves to ${addresses.join(" and ")} fails for good and says why`, async () => {
      const { outcome, asked } = await deliverVia(addresses);
      expect(asked).toEqual(["name.example"]);
      expect(outcome).toMatchObject({ kind: "failed", permanent: true, hostAtFault: false, status: null });
      expect(outcome).toHaveProperty(
        "error",
        expect.stringMatching(/^name\.example resolves to .* not allowed$/),
      );
    });
  }

  for (const url of ["http://127.0.0.1:1/", "http://[::1]:1/", "http://2130706433/", "http://localhost:1/"]) {
    test(`${url} fails for good without asking a resolver`, async () => {
      const { outcome, asked } = await deliverVia([PUBLIC], url);
      expect(asked).toEqual([]);
      expect(outcome).toMatchObject({ kind: "failed", permanent: true, hostAtFault: false });
    });
  }

  test("a name is asked for anew at every attempt", async () => {
    let asked = 0;
    const resolve = async () => {
      asked++;
      return ["10.0.0.1"];
    };
    const transport = httpTransport({ allowPrivate: false, resolve });
    for (let attempt = 1; attempt <= 3; attempt++) {
      await transport.deliver(deliveryTo("http://name.example/", { attempt }), unaborted());
    }
    expect(asked).toBe(3);
  });

  test("only the addresses that were judged are dialled, by name, and a retry begins with the next one", async () => {
    await using target = await startTarget();
    const addresses = ["8.8.8.8", "2606:4700::1111", "1.1.1.1"];
    const dialled: (readonly string[] | null)[] = [];
    const real = createDialler(realClock, null);
    // No public address can be dialled in a test: the judged ones are noted, loopback is dialled in their place.
    const dialler: Dialler = {
      dial: (call) => {
        dialled.push(call.addresses);
        return real.dial({ ...call, addresses: ["127.0.0.1"] });
      },
      close: () => real.close(),
    };
    const transport = httpTransport({ allowPrivate: false, resolve: async () => addresses, dialler });
    const url = `http://name.example:${target.port}/p`;
    for (let attempt = 1; attempt <= 4; attempt++) {
      expect((await transport.deliver(deliveryTo(url, { attempt }), unaborted())).kind).toBe("delivered");
    }
    const [a = "", b = "", c = ""] = addresses;
    expect(dialled).toEqual([
      [a, b, c],
      [b, c, a],
      [c, a, b],
      [a, b, c],
    ]);
    expect(target.requests[0]).toMatchObject({
      path: "/p",
      headers: { host: `name.example:${target.port}`, "x-task-attempt": "1" },
    });
  });

  test("a name that does not resolve is an ordinary failure of the host", async () => {
    const resolve = () => Promise.reject(new Error("ENOTFOUND"));
    for (const transport of [
      httpTransport({ allowPrivate: false, resolve }),
      httpTransport({ allowPrivate: false, resolve: async () => [] }),
      httpTransport({ allowPrivate: false }),
      httpTransport({ allowPrivate: true }),
    ]) {
      expect(await transport.deliver(deliveryTo("http://nobody.invalid/?token=secret"), unaborted())).toEqual(
        {
          kind: "failed",
          status: null,
          error: "name does not resolve: nobody.invalid",
          cause: "dns",
          responseExcerpt: null,
          permanent: false,
          retryAfterMs: null,
          hostAtFault: true,
        },
      );
    }
  });

  test("a resolver that never answers is given up when the time is over", async () => {
    const transport = httpTransport({ allowPrivate: false, resolve: () => new Promise(() => {}) });
    expect(
      await transport.deliver(deliveryTo("http://name.example/", { timeoutMs: 50 }), unaborted()),
    ).toMatchObject({ kind: "failed", error: "timed out after 50 ms", hostAtFault: true, permanent: false });
  });

  test("an abort while a name is resolved defers", async () => {
    const abort = new AbortController();
    const resolve = () => {
      queueMicrotask(() => abort.abort());
      return new Promise<never>(() => {});
    };
    const transport = httpTransport({ allowPrivate: false, resolve });
    expect((await transport.deliver(deliveryTo("http://name.example/"), abort.signal)).kind).toBe("deferred");
  });
});
