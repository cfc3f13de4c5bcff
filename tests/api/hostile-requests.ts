/** Malformed and hostile requests by the thousand, each made anew from a seed. */

import fc from "fast-check";

/** One request: by an HTTP client where one would send it, as bytes on a socket where none would. */
export type Hostile =
  | {
      readonly kind: "http";
      readonly method: string;
      readonly path: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: Uint8Array<ArrayBuffer> | null;
    }
  | { readonly kind: "raw"; readonly bytes: Uint8Array };

const encoder = new TextEncoder();

/** `count` requests; the same seed makes the same ones. `taskId` is of a task that is there. */
export function hostileRequests(seed: number, count: number, taskId: string): Hostile[] {
  return fc.sample(hostile(taskId), { seed, numRuns: count });
}

function hostile(taskId: string): fc.Arbitrary<Hostile> {
  return fc.oneof(
    { weight: 50, arbitrary: posted("/v1/enqueue", taskText) },
    { weight: 12, arbitrary: posted("/v1/enqueue/batch", batchText) },
    { weight: 10, arbitrary: patched(taskId) },
    { weight: 10, arbitrary: asked(taskId) },
    { weight: 12, arbitrary: administered },
    { weight: 8, arbitrary: raw },
    { weight: 6, arbitrary: bytesPosted },
    { weight: 1, arbitrary: enormous },
  );
}

/** Fragments of JSON that a careless reader trips over, where any value is looked for. */
const nastyValue = fc.oneof(
  fc.constantFrom(
    ...[
      "null",
      "true",
      "0",
      "-1",
      "-0",
      "1e400",
      "-1e400",
      "1e-400",
      "9007199254740993",
      "0.1e1",
      "[]",
      "{}",
      '""',
    ],
    ...['"\\u0000"', '"\\ud800"', '"\\r\\nX-Evil: 1"', '"__proto__"', '{"__proto__":{"polluted":true}}'],
    ...[
      '{"constructor":{"prototype":{"polluted":true}}}',
      '{"toString":1}',
      '{"length":1e9}',
      "[[[[[[]]]]]]",
    ],
    ...[
      '"../../etc/passwd"',
      '"\'; DROP TABLE tasks; --"',
      '"$\\u007bjndi:ldap://x}"',
      '"٣"',
      '"\u202e"',
      "NaN",
      "1e",
      "01",
    ],
    ...['"2026-02-30T00:00:00Z"', '"9999-12-31T23:59:59Z"', "1e18", "253402300800000"],
  ),
  fc.json({ maxDepth: 3 }),
  fc.string({ unit: "binary", maxLength: 40 }).map((text) => JSON.stringify(text)),
  fc.integer({ min: 100, max: 9_000 }).map((length) => JSON.stringify("x".repeat(length))),
);

const nastyUrl = fc
  .oneof(
    fc.constantFrom(
      ...[
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://a@b@c/",
      ],
      ...[
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "//x",
        "http://%00/",
        "http://exa\tmple.com/",
      ],
      ...[
        "https://example.com:99999/",
        "data:,x",
        "http://xn--/",
        "HTTP://EXAMPLE.com/\r\nHost: x",
        "\u0000",
      ],
    ),
    fc.webUrl(),
    fc.integer({ min: 1, max: 12_000 }).map((length) => `https://example.com/${"a".repeat(length)}`),
  )
  .map((url) => JSON.stringify(url));

const nastyHeaders = fc
  .dictionary(
    fc.oneof(
      fc.constantFrom(
        "Host",
        "content-length",
        "X-Task-Id",
        "__proto__",
        "a b",
        "x\r\ny",
        "",
        "Ü",
        "constructor",
      ),
      fc.string({ maxLength: 20 }),
    ),
    fc.oneof(fc.constantFrom("a\r\nb", "\0", "ok", "é", "☃"), fc.string({ unit: "binary", maxLength: 30 })),
    { maxKeys: 5, noNullPrototype: true },
  )
  .map((headers) => JSON.stringify(headers));

const NOTHING: fc.Arbitrary<string[]> = fc.constant([]);

/** One member of an object as text: good, nasty, or left out. */
function member(
  name: string,
  good: string,
  nasty: fc.Arbitrary<string> = nastyValue,
): fc.Arbitrary<string[]> {
  const text = (value: string) => [`${JSON.stringify(name)}:${value}`];
  return fc.oneof(
    { weight: 30, arbitrary: fc.constant(text(good)) },
    { weight: 2, arbitrary: nasty.map(text) },
    { weight: 1, arbitrary: NOTHING },
    { weight: 1, arbitrary: nasty.map((value) => [...text(good), ...text(value)]) },
  );
}

const strayMember = fc.oneof(
  { weight: 6, arbitrary: NOTHING },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom("__proto__", "constructor", "prototype", "x", "", "callback_url"), nastyValue)
      .map(([name, value]) => [`${JSON.stringify(name)}:${value}`]),
  },
);

function object(...members: fc.Arbitrary<string[]>[]): fc.Arbitrary<string> {
  return fc.tuple(...members).map((texts) => `{${texts.flat().join(",")}}`);
}

const targetText = object(
  member("url", '"https://example.com/hook"', nastyUrl),
  member("method", '"POST"'),
  member("headers", "{}", nastyHeaders),
  member("body", '{"a":1}'),
  member("timeout_sec", "30"),
  fc.oneof(
    { weight: 5, arbitrary: NOTHING },
    nastyValue.map((value) => [`"body_base64":${value}`]),
  ),
  strayMember,
);

const retryText = object(
  member("max_attempts", "3"),
  member("min_backoff_sec", "1"),
  member("max_backoff_sec", "2"),
  member("max_doublings", "3"),
  member("max_duration_sec", "60"),
  member("jitter", "0.5"),
  strayMember,
);

const taskText: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc
      .tuple(targetText, retryText)
      .chain(([target, retry]) =>
        object(
          member("client_id", '"c"'),
          member("queue", '"default"'),
          member("task", target),
          member("retry", retry),
          fc.oneof(member("delay", "60"), member("scheduled_at", '"2026-01-02T00:00:00Z"')),
          member("priority", '"low"'),
          fc.oneof({ weight: 3, arbitrary: NOTHING }, member("name", '"n"')),
          member("ordering_key", '"k"'),
          member("retention_sec", "60"),
          member("metadata", '{"a":"b"}', fc.constant('{"task-runner.report_of":"x"}')),
          fc.oneof(
            { weight: 3, arbitrary: NOTHING },
            member("callback_url", '"https://example.com/done"', nastyUrl),
          ),
          strayMember,
        ),
      ),
  },
  { weight: 1, arbitrary: nastyValue },
);

const batchText = fc
  .tuple(fc.array(taskText, { maxLength: 8 }), fc.constantFrom("object", "lines", "bare"))
  .map(([tasks, form]) => {
    if (form === "lines") return tasks.join("\n");
    return form === "bare" ? `[${tasks.join(",")}]` : `{"tasks":[${tasks.join(",")}]}`;
  });

/** What may befall a text on its way. */
function damaged(text: fc.Arbitrary<string>): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const place = fc.double({ min: 0, max: 1, noNaN: true });
  return fc
    .tuple(
      text,
      fc.constantFrom(...Array<string>(8).fill("none"), "cut", "insert", "flip", "bom"),
      place,
      fc.uint8Array({ maxLength: 4 }),
    )
    .map(([whole, damage, where, stray]) => {
      const bytes = encoder.encode(whole);
      const at = Math.floor(where * bytes.length);
      switch (damage) {
        case "cut":
          return bytes.slice(0, at);
        case "insert":
          return joined(bytes.slice(0, at), stray, bytes.slice(at));
        case "flip":
          return bytes.map((byte, index) => (index === at ? byte ^ 0x80 : byte));
        case "bom":
          return joined(new Uint8Array([0xef, 0xbb, 0xbf]), bytes);
        default:
          return bytes;
      }
    });
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}

const visible = (maxLength: number) =>
  fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
    maxLength,
  });

const oddHeaders = fc.record(
  {
    "content-type": fc.oneof(
      { weight: 12, arbitrary: fc.constant("application/json") },
      fc.constantFrom("application/x-ndjson", "text/plain", ";", "application/json;;;", "APPLICATION/JSON"),
      fc.constantFrom("application/json; charset=utf-16", "multipart/form-data"),
    ),
    "idempotency-key": visible(300),
    traceparent: fc.oneof(visible(60), fc.constant(`00-${"0".repeat(32)}-${"0".repeat(16)}-00`)),
    "x-request-id": visible(200),
    "x-admin-key": visible(40),
    "content-encoding": fc.constantFrom("gzip", "br", "identity", "nonsense"),
  },
  { requiredKeys: ["content-type"] },
);

function posted(path: string, text: fc.Arbitrary<string>): fc.Arbitrary<Hostile> {
  return fc
    .tuple(damaged(text), oddHeaders)
    .map(([body, headers]) => ({ kind: "http", method: "POST", path, headers, body }));
}

function patched(taskId: string): fc.Arbitrary<Hostile> {
  const text = object(
    member("delay", "60"),
    member("scheduled_at", "1", nastyValue),
    member("priority", '"low"'),
    strayMember,
  );
  return fc
    .tuple(damaged(text), oddHeaders, fc.constantFrom(taskId, "x", "%00", "__proto__"))
    .map(([body, headers, id]) => ({
      kind: "http",
      method: "PATCH",
      path: `/v1/tasks/${id}`,
      headers,
      body,
    }));
}

const clientText = object(
  member("client_id", '"hostile"'),
  member("tier", '"basic"'),
  member("enabled", "true"),
  member("overrides", '{"requests_per_minute":5}'),
  member("allowed_queues", '["hostile"]'),
  member(
    "allowed_hosts",
    '["*.example.com"]',
    fc.tuple(nastyValue, nastyUrl).map((hosts) => `[${hosts.join(",")}]`),
  ),
  strayMember,
);

const queueText = retryText.chain((retry) =>
  object(
    member("queue", '"hostile"'),
    member("paused", "false"),
    member("max_dispatches_per_sec", "5"),
    member("max_concurrent", "5"),
    member("weight", "2"),
    member("mode", '"push"'),
    member("retry", retry),
    member("target", '{"method":"PUT"}'),
    member("permanent_statuses", "[404]"),
    member(
      "dead_target",
      '{"queue":"graveyard"}',
      nastyUrl.map((url) => `{"url":${url}}`),
    ),
    strayMember,
  ),
);

const deadText = object(
  member("queue", '"hostile"'),
  member("filter", '{"client_id":"hostile"}'),
  member("limit", "10"),
  strayMember,
);

/** Settings of a client, a tier and a queue that no other request is of. */
const administered: fc.Arbitrary<Hostile> = fc.oneof(
  posted("/admin/clients/set", clientText),
  posted("/admin/clients/keys/create", object(member("client_id", '"hostile"'), member("label", '"l"'))),
  posted("/admin/clients/secrets/create", object(member("client_id", '"hostile"'), strayMember)),
  posted("/admin/queues/secrets/revoke", object(member("queue", '"hostile"'), member("secret_id", '"0"'))),
  posted("/admin/clients/keys/revoke", object(member("client_id", '"hostile"'), member("key_id", '"0"'))),
  posted(
    "/admin/tiers/set",
    object(member("tier", '"hostile"'), member("requests_per_minute", "5"), member("max_concurrent", "null")),
  ),
  posted("/admin/queues/set", queueText),
  posted("/admin/queues/purge", object(member("queue", '"hostile"'), strayMember)),
  posted("/admin/dead/replay", deadText),
  posted("/admin/dead/purge", deadText),
);

const bytesPosted: fc.Arbitrary<Hostile> = fc
  .tuple(fc.uint8Array({ maxLength: 300 }), fc.constantFrom("/v1/enqueue", "/v1/enqueue/batch"), oddHeaders)
  .map(([body, path, headers]) => ({
    kind: "http",
    method: "POST",
    path,
    headers,
    body: new Uint8Array(body),
  }));

function asked(taskId: string): fc.Arbitrary<Hostile> {
  const query = fc
    .array(
      fc.tuple(
        fc.constantFrom("queue", "state", "client_id", "from", "to", "limit", "cursor", "__proto__", "x"),
        fc.oneof(
          fc.string({ unit: "binary", maxLength: 30 }).map((text) => encodeURIComponent(text.toWellFormed())),
          fc.constantFrom(
            "%",
            "%zz",
            "%00",
            "1e400",
            "-1",
            "default",
            "ready",
            "0",
            "1000",
            "99999999999999999999",
            "null",
          ),
        ),
      ),
      { maxLength: 4 },
    )
    .map((pairs) => `/v1/tasks?${pairs.map((pair) => pair.join("=")).join("&")}`);
  const path = fc.oneof(
    query,
    fc.webPath().map((given) => given || "/"),
    fc.constantFrom(
      ...[
        "/v1/tasks/%",
        "/v1/tasks/%zz/run",
        "/v1/tasks/%2e%2e/replay",
        "/v1//enqueue",
        "//",
        "/%00",
        "/v1/tasks/",
      ],
      ...[
        `/v1/tasks/${taskId}`,
        `/v1/tasks/${taskId}/explain`,
        "/v1/tasks/__proto__",
        "/health/detailed",
        "/?%",
      ],
      `/${"a".repeat(8_000)}`,
    ),
  );
  return fc
    .tuple(
      path,
      fc.constantFrom("GET", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "PROPFIND"),
    )
    .map(([given, method]) => ({ kind: "http", method, path: given, headers: {}, body: null }));
}

/** Few, for they are large: depth, length, and a thousand of everything. */
const enormous: fc.Arbitrary<Hostile> = fc
  .tuple(
    fc.constantFrom(
      "deep",
      "deep body",
      "long string",
      "many keys",
      "many items",
      "long number",
      "wide headers",
    ),
    fc.integer({ min: 1, max: 10 }),
  )
  .map(([what, size]) => {
    const body = encoder.encode(enormousText(what, size));
    const path = what === "many items" ? "/v1/enqueue/batch" : "/v1/enqueue";
    return { kind: "http", method: "POST", path, headers: { "content-type": "application/json" }, body };
  });

function enormousText(what: string, size: number): string {
  const inTask = (member: string) => `{"client_id":"c","task":{"url":"https://example.com/",${member}}}`;
  const deep = `${"[".repeat(size * 10_000)}${"]".repeat(size * 10_000)}`;
  switch (what) {
    case "deep":
      return deep;
    case "deep body":
      return inTask(`"body":${deep.slice(size * 9_000, size * 11_000)}`);
    case "long string":
      return inTask(`"body":"${"\\u0000".repeat(size * 3_000)}"`);
    case "many keys":
      return `{${Array.from({ length: size * 500 }, (_, i) => `"k${i}":1`).join(",")}}`;
    case "many items":
      return `{"tasks":[${Array.from({ length: size * 150 }, () => "{}").join(",")}]}`;
    case "long number":
      return inTask(`"body":1${"0".repeat(size * 5_000)}1`);
    default:
      return inTask(
        `"headers":{${Array.from({ length: size * 30 }, (_, i) => `"x-${i}":"${i}"`).join(",")}}`,
      );
  }
}

/** What no HTTP client would send: lengths that lie, chunks that are none, lines that never end. */
const raw: fc.Arbitrary<Hostile> = fc
  .tuple(
    fc.constantFrom(
      ...["Content-Length: 1000", "Content-Length: 0", "Content-Length: -1", "Content-Length: 99999999999"],
      ...[
        "Content-Length: 1e3",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length:",
        "Content-Length: 0x10",
      ],
      ...[
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: gzip",
      ],
      ...[
        "Expect: 100-continue",
        `X-Long: ${"a".repeat(20_000)}`,
        "No colon",
        "\u0000: x",
        "X-A: a\u0000b",
        ": x",
      ],
    ),
    fc.constantFrom(
      ...[
        '{"client_id":"c"',
        "5\r\nhello\r\n0\r\n\r\n",
        "ZZ\r\nhello\r\n",
        "ffffffffff\r\n",
        "",
        "\r\n\r\n\r\n",
      ],
      ...['{"client_id":"c","task":{"url":"https://example.com/"}}'],
    ),
    fc.constantFrom(
      ...["POST /v1/enqueue HTTP/1.1", "POST /v1/enqueue HTTP/1.1", "POST /v1/enqueue HTTP/1.1"],
      ...["POST /v1/enqueue HTTP/1.0", "GET /v1/tasks/\u0000 HTTP/1.1", "post /v1/enqueue HTTP/1.1"],
      ...[
        "POST http://evil.example/v1/enqueue HTTP/1.1",
        "POST  /v1/enqueue  HTTP/1.1",
        "\r\n\r\nGET / HTTP/1.1",
      ],
      ...[
        `GET /${"a".repeat(20_000)} HTTP/1.1`,
        "GET * HTTP/1.1",
        "CONNECT x:1 HTTP/1.1",
        "\u0016\u0003\u0001",
      ],
    ),
    fc.boolean(),
  )
  .map(([header, body, line, host]) => ({
    kind: "raw",
    bytes: Buffer.from(`${line}\r\n${host ? "Host: x\r\n" : ""}${header}\r\n\r\n${body}`, "latin1"),
  }));
