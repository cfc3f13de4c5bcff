/** Requests made from the document of a running server: right ones, ones with a single fault, and nonsense. */

import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { changedInOnePlace, type Hints, NASTY, Values } from "../from-schema.ts";
import type { JsonSchema } from "../json-schema.ts";
import type { ApiDocument, Operation, Parameter } from "./document.ts";
import { marker } from "./pool.ts";

/** Which key a request shows. */
export type Shown = "admin" | "client" | "none" | "wrong";

/** A request before it is sent: markers in it stand for things that are there by then. */
export interface Planned {
  /** Null for one that is of no route. */
  readonly operation: Operation | null;
  readonly method: string;
  /** With its query; markers are filled in. */
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  /** A text, whose markers are filled in, or bytes; null for none. */
  readonly body: string | Uint8Array | null;
  readonly shown: Shown;
  /** Something in the line or the headers is odd enough for the runtime to answer by itself. */
  readonly odd: boolean;
}

export const CLIENTS = ["fuzz-a", "fuzz-b", "fuzz-c", "Fuzz.d:1"] as const;
const QUEUES = ["fuzz-push", "fuzz-pull", "default", "callbacks"];

const url = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.webUrl({ withQueryParameters: true, withFragments: true, validSchemes: ["http", "https"] }),
  },
  fc.constantFrom(
    ...[
      "https://example.com/hook",
      "http://127.0.0.1/",
      "http://[::1]/",
      "http://2130706433/",
      "file:///etc/passwd",
    ],
    ...[
      "//x",
      "http://a@b/",
      "http://%00/",
      "HTTP://EXAMPLE.com:443/",
      "https://xn--/",
      "http://localhost./",
      "data:,x",
    ],
  ),
);

const instant = fc.oneof(
  fc
    .date({ min: new Date("2020-01-01"), max: new Date("2030-01-01"), noInvalidDate: true })
    .map((at) => at.toISOString()),
  fc.integer({ min: 0, max: 4_000_000_000 }),
  fc.constantFrom(
    "2026-02-30T00:00:00Z",
    "2026-01-01 00:00:00z",
    "9999-12-31T23:59:59+23:59",
    "0000-01-01T00:00:00Z",
    "1",
  ),
);

const HINTS: Hints = {
  url,
  callback_url: url,
  failure_callback_url: url,
  scheduled_at: instant,
  from: instant,
  to: instant,
  client_id: fc.constantFrom(...CLIENTS),
  queue: fc.constantFrom(...QUEUES),
  name: fc.constantFrom("n1", "n2", "a/b~c"),
  ordering_key: fc.constantFrom("k1", "k2", "ü %2C/"),
  tier: fc.constantFrom("basic", "premium", "fuzz-tier", "nobody"),
  lease: fc.nat(40).map((at) => marker("lease", at)),
  key_id: fc.nat(40).map((at) => marker("key", at)),
  secret_id: fc.nat(40).map((at) => marker("secret", at)),
  cursor: fc.nat(40).map((at) => marker("cursor", at)),
  ids: fc.array(
    fc.nat(40).map((at) => marker("task", at)),
    { minLength: 1, maxLength: 4 },
  ),
  leases: fc.array(
    fc.nat(40).map((at) => marker("lease", at)),
    { minLength: 1, maxLength: 4 },
  ),
  body_base64: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString("base64")),
  allowed_hosts: fc.array(
    fc.constantFrom("example.com", "*.example.com", "192.0.2.1", "::1", "a b", "*.1.2.3.4"),
    {
      minLength: 1,
      maxLength: 3,
    },
  ),
  limit: fc.integer({ min: 1, max: 20 }),
  max: fc.integer({ min: 1, max: 5 }),
};

/** All kinds of requests, weighted so that each route is met by each of them. */
export function requestsOf({ operations, schemas }: ApiDocument): fc.Arbitrary<Planned> {
  const values = new Values(schemas, HINTS);
  const own = operations.map((operation) => ({
    weight: operation.path.startsWith("/v1/enqueue") ? 6 : Object.keys(operation.bodies).length > 0 ? 3 : 2,
    arbitrary: requestOf(operation, values),
  }));
  return fc.oneof(
    { weight: 24, arbitrary: fc.oneof(...own) },
    { weight: 1, arbitrary: strayRequest(operations) },
  );
}

/** A part that means another path. */
const DOTS = /\/(?:\.|%2e){1,2}(?:\/|$)/i;

function requestOf(operation: Operation, values: Values): fc.Arbitrary<Planned> {
  const of = (place: Parameter["in"]) => operation.parameters.filter((parameter) => parameter.in === place);
  const path = fc
    .tuple(...of("path").map(({ name }) => pathPart(name)))
    .map((parts) =>
      of("path").reduce(
        (whole, { name }, at) => whole.replace(`{${name}}`, () => parts[at] ?? ""),
        operation.path,
      ),
    );
  return fc
    .tuple(path, queryOf(of("query"), values), headersOf(of("header")), bodyOf(operation, values), shown)
    .map(([way, query, { headers, odd }, { body, contentType }, key]) => ({
      operation: DOTS.test(way) ? null : operation,
      method: operation.method,
      path: `${way}${query}`,
      headers: contentType === null ? headers : [...headers, ...contentType],
      body,
      shown: key,
      odd,
    }));
}

const shown: fc.Arbitrary<Shown> = fc.oneof(
  { weight: 120, arbitrary: fc.constant("admin" as const) },
  { weight: 40, arbitrary: fc.constant("client" as const) },
  { weight: 20, arbitrary: fc.constant("none" as const) },
  { weight: 1, arbitrary: fc.constant("wrong" as const) },
);

const STRANGE_PARTS = [
  ...[
    "%00",
    "%",
    "%zz",
    "%2e%2e",
    "..",
    ".",
    "__proto__",
    "a".repeat(3_000),
    "%F0%9F%98%80",
    "%ff",
    "%C0%80",
    "a%2Fb",
    "*",
  ],
  ...[
    "0".repeat(26),
    "Z".repeat(26),
    "01J00000000000000000000000",
    "%0d%0aX-Evil:%201",
    "a;b",
    "a+b",
    "nothing",
  ],
];

function pathPart(name: string): fc.Arbitrary<string> {
  const usual = name === "queue" ? fc.constantFrom(...QUEUES) : fc.nat(40).map((at) => marker("task", at));
  const strange = fc.oneof(
    fc.constantFrom(...STRANGE_PARTS),
    fc
      .string({ unit: "binary", minLength: 1, maxLength: 20 })
      .map((text) => encodeURIComponent(text.toWellFormed())),
  );
  return fc.oneof({ weight: 8, arbitrary: usual }, { weight: 1, arbitrary: strange });
}

function queryOf(parameters: readonly Parameter[], values: Values): fc.Arbitrary<string> {
  const good = fc
    .tuple(
      ...parameters.map(({ name, required, schema }) =>
        fc.tuple(
          fc.constant(name),
          required === true ? fc.constant(true) : fc.boolean(),
          values.of(schema, name).map(textOf),
        ),
      ),
    )
    .map((all) => all.filter(([, there]) => there).map(([name, , value]) => [name, value] as const));
  const names = [...parameters.map(({ name }) => name), "x", "__proto__", "", "limit", "cursor"];
  const bad = fc.array(
    fc.tuple(
      fc.constantFrom(...names),
      fc.constantFrom(...NASTY).map((value) => textOf(value).slice(0, 2_000)),
    ),
    { maxLength: 3 },
  );
  const encoded = (pairs: readonly (readonly [string, string])[]) =>
    pairs.length === 0
      ? ""
      : `?${pairs.map((pair) => pair.map((part) => encodeURIComponent(part.toWellFormed())).join("=")).join("&")}`;
  return fc.oneof(
    { weight: 6, arbitrary: good.map(encoded) },
    {
      weight: parameters.length > 0 ? 3 : 1,
      arbitrary: fc.tuple(good, bad).map(([a, b]) => encoded([...a, ...b])),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "?",
        "?&&",
        "?%",
        "?a=%zz",
        "?=",
        "?limit=1&limit=2",
        `?${"a".repeat(4_000)}`,
      ),
    },
  );
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

interface Headers {
  readonly headers: readonly (readonly [string, string])[];
  readonly odd: boolean;
}

const PLAIN: fc.Arbitrary<Headers> = fc.constant({ headers: [], odd: false });

function headersOf(parameters: readonly Parameter[]): fc.Arbitrary<Headers> {
  const names = [
    ...parameters.map(({ name }) => name),
    "X-Request-Id",
    "traceparent",
    "Idempotency-Key",
    "Accept",
  ];
  const good = fc
    .array(fc.tuple(fc.constantFrom(...names), fc.stringMatching(/^[\x21-\x7e]{1,40}$/)), { maxLength: 2 })
    .map((headers) => ({ headers, odd: false }));
  const odd = fc
    .oneof(
      fc.tuple(fc.constantFrom(...names), fc.string({ unit: LATIN, maxLength: 60 })).map((one) => [one]),
      fc.constantFrom(...names).map((name) => [[name, "a"] as const, [name, "b"] as const]),
      fc
        .integer({ min: 1, max: 300 })
        .map((count) => Array.from({ length: count }, (_, at) => [`X-${at}`, `${at}`] as const)),
      fc.integer({ min: 1_000, max: 40_000 }).map((length) => [["X-Long", "a".repeat(length)] as const]),
      fc.constantFrom<(readonly [string, string])[]>(
        ...[[["Content-Encoding", "gzip"] as const]],
        ...[[["Accept-Encoding", "gzip, br;q=0.1, *"] as const]],
        ...[[["Connection", "upgrade"] as const, ["Upgrade", "websocket"] as const]],
        ...[
          [["Expect", "100-continue"] as const],
          [["Range", "bytes=0-1"] as const],
          [["TE", "trailers"] as const],
        ],
        ...[
          [["Host", "evil.example\u00ff"] as const],
          [["Cookie", "__proto__=1"] as const],
          [["If-Match", "*"] as const],
        ],
        ...[[["X-Forwarded-For", "10.0.0.1"] as const], [["X-HTTP-Method-Override", "DELETE"] as const]],
      ),
    )
    .map((headers) => ({ headers, odd: true }));
  return fc.oneof(
    { weight: 8, arbitrary: PLAIN },
    { weight: 2, arbitrary: good },
    { weight: 1, arbitrary: odd },
  );
}

/** Characters that one byte of a header can be, less those that end it. */
const LATIN = fc
  .integer({ min: 1, max: 0xff })
  .filter((code) => code !== 10 && code !== 13)
  .map((code) => String.fromCharCode(code));

interface Body {
  readonly body: string | Uint8Array | null;
  readonly contentType: readonly (readonly [string, string])[] | null;
}

const JSON_TYPE = "application/json";
const NOTHING: fc.Arbitrary<Body> = fc.constant({ body: null, contentType: null });

function bodyOf({ bodies }: Operation, values: Values): fc.Arbitrary<Body> {
  const types = Object.entries(bodies);
  if (types.length === 0) {
    return fc.oneof(
      { weight: 9, arbitrary: NOTHING },
      { weight: 1, arbitrary: fc.constant(bodyAs("{}", JSON_TYPE)) },
    );
  }
  return fc.oneof(
    ...types.map(([type, { schema }]) =>
      type === JSON_TYPE ? jsonBody(schema, values) : linesBody(type, schema, values),
    ),
  );
}

function bodyAs(body: string | Uint8Array, type: string | null): Body {
  return { body, contentType: type === null ? null : [["Content-Type", type]] };
}

function jsonBody(schema: JsonSchema, values: Values): fc.Arbitrary<Body> {
  const valid = unhurried(values.of(schema));
  const nearly = unhurried(changedInOnePlace(valid));
  const text = (value: unknown) => JSON.stringify(value);
  return fc.oneof(
    { weight: 10, arbitrary: valid.map((value) => bodyAs(text(value), JSON_TYPE)) },
    { weight: 12, arbitrary: nearly.map((value) => bodyAs(text(value), JSON_TYPE)) },
    { weight: 2, arbitrary: fc.json({ maxDepth: 4 }).map((json) => bodyAs(json, JSON_TYPE)) },
    {
      weight: 4,
      arbitrary: fc
        .tuple(valid, fc.constantFrom(...TEXT_TRICKS), fc.nat(5_000))
        .map(([value, trick, at]) => bodyAs(trick(text(value), at), JSON_TYPE)),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(valid, fc.nat(5_000), fc.uint8Array({ maxLength: 4 }))
        .map(([value, at, stray]) => bodyAs(damaged(text(value), at, stray), JSON_TYPE)),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(valid, fc.constantFrom(...TYPES)).map(([value, type]) => bodyAs(text(value), type)),
    },
    { weight: 1, arbitrary: valid.map((value) => gzipped(text(value))) },
    { weight: 1, arbitrary: NOTHING },
  );
}

function linesBody(type: string, schema: JsonSchema, values: Values): fc.Arbitrary<Body> {
  const valid = unhurried(values.of(schema));
  const line = fc.oneof(
    { weight: 4, arbitrary: valid.map((value) => JSON.stringify(value)) },
    { weight: 2, arbitrary: changedInOnePlace(valid).map((value) => JSON.stringify(value) ?? "") },
    fc.constantFrom("", " ", "{", "null", "[]", "\r"),
  );
  return fc.array(line, { maxLength: 6 }).map((lines) => bodyAs(lines.join("\n"), type));
}

/** A request that waits for tasks would only take time. */
function unhurried(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return value.map((whole) => {
    if (typeof whole !== "object" || whole === null) return whole;
    const waitSec: unknown = Reflect.get(whole, "wait_sec");
    return typeof waitSec === "number" && waitSec > 0.05 ? { ...whole, wait_sec: 0.05 } : whole;
  });
}

const TYPES = [
  null,
  ...[
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    'application/json;charset="UTF-8"',
    "application/json;;;",
  ],
  ...[
    "application/json; charset=utf-16",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    ";",
  ],
  ...[
    "",
    "application/x-ndjson",
    "application/problem+json",
    "application/json, text/plain",
    "json",
    "a".repeat(2_000),
  ],
];

/** What a JSON text may have that a value cannot. */
const TEXT_TRICKS: readonly ((text: string, at: number) => string)[] = [
  (text) => text.replace("{", '{"client_id":null,'),
  (text) => text.replace("{", '{"__proto__":{"polluted":true},'),
  (text) => text.replace("{", '{"constructor":{"prototype":{"polluted":true}},'),
  (text) => text.replace(/"(?=[^"]*$)/, '\\u0000"'),
  (text) => text.replace("{", '{"client_id":"\\ud800",'),
  (text) => text.replace(/\d+/, "1e400"),
  (text) => text.replace(/\d+/, "12345678901234567890"),
  (text) => text.replace(/\d+/, `1${"0".repeat(400)}`),
  (text) => text.replace(/\d+/, "-0"),
  (text) => text.replace(/\d+/, "01"),
  (text) => text.replace(/\d+/, "0x10"),
  (text) => text.replace(/\d+/, "1.0"),
  (text) => text.replace(/\d+/, "NaN"),
  (text) => `${text},`,
  (text) => `${text}\0`,
  (text) => `${text}${text}`,
  (text) => `/* */${text}`,
  (text) => `\ufeff${text}`,
  (text) => `${" \n\t".repeat(3_000)}${text}`,
  (text) => text.replaceAll('"', "'"),
  (text, at) => text.replace("{", `{"x":${"[".repeat(at * 20)}${"]".repeat(at * 20)},`),
  (text, at) => text.replace('"task":{', `"task":{"body":${'{"a":'.repeat(at)}1${"}".repeat(at)},`),
  (text, at) => text.replace('"task":{', `"task":{"body":"${"x".repeat(at * 20)}",`),
  (text, at) => text.replace("{", `{${Array.from({ length: at % 2_000 }, (_, i) => `"k${i}":1,`).join("")}`),
  (text, at) => `[${`${text},`.repeat(at % 20)}${text}]`,
  () => '"\\ud83d"',
  () => "",
  () => "null",
];

function damaged(text: string, where: number, stray: Uint8Array): Uint8Array {
  const bytes = Buffer.from(text);
  const at = where % (bytes.length + 1);
  return stray.length === 0
    ? bytes.subarray(0, at)
    : Buffer.concat([bytes.subarray(0, at), stray, bytes.subarray(at)]);
}

function gzipped(text: string): Body {
  return {
    body: gzipSync(text),
    contentType: [
      ["Content-Type", JSON_TYPE],
      ["Content-Encoding", "gzip"],
    ],
  };
}

const METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "TRACE",
  "PROPFIND",
  "QUERY",
  "LINK",
];

/** A method that a path does not take, and paths that are nobody's. */
function strayRequest(operations: readonly Operation[]): fc.Arbitrary<Planned> {
  const paths = operations.map(({ path }) => path.replace(/\{\w+\}/g, "x"));
  const path = fc.oneof(
    fc.constantFrom(...paths, ...paths.map((one) => `${one}/`), ...paths.map((one) => `/${one}`)),
    fc.constantFrom(
      "/v2/enqueue",
      "/V1/enqueue",
      "//",
      "/.",
      "/admin",
      "/v1",
      "/%2e%2e/",
      "/*",
      "/:id",
      "/__proto__",
    ),
    fc.webPath().map((one) => (one === "" ? "/" : one)),
    fc.string({ unit: "binary", maxLength: 20 }).map((text) => `/${encodeURIComponent(text.toWellFormed())}`),
  );
  return fc.tuple(fc.constantFrom(...METHODS), path, shown).map(([method, way, key]) => ({
    operation: null,
    method,
    path: way,
    headers: [],
    body: null,
    shown: key,
    odd: false,
  }));
}
