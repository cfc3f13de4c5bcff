/** Fuzzes the server below HTTP: bytes that no client sends, requests that never end, and many of them at once. */

import { connect, type Socket } from "node:net";
import fc from "fast-check";
import { Cases, type Job, must, type Report } from "./cases.ts";
import { type FuzzedServer, startServer } from "./http/server.ts";
import { parseAnswer, Wire } from "./http/wire.ts";

/** A connection on which nothing more comes is let go after this long. */
const SILENCE_MS = 150;
const AT_ONCE = 12;
/** Connections that send a byte now and then, or nothing, all the while. */
const SLOW = 200;
/** While others misbehave an answer may take this long on a loaded machine. */
const RESPONSIVE_MS = 5_000;
const SETTLE_MS = 1_000;
const MAX_NEW_FILES = 12;
const MAX_GROWTH_BYTES = 96 * 1024 * 1024;
/** The runtime's own parser answers so, before we see a request. */
const RUNTIMES = new Set([400, 413, 431, 501, 505]);

export async function fuzzSockets(job: Job): Promise<Report> {
  const cases = new Cases(job);
  const server = await startServer({ DEFAULT_CLIENT_TIER: "enterprise" });
  const found = (what: string, why: string) => cases.found({ what, why, example: "", seed: job.seed });
  try {
    const slow = await slowConnections(server.port);
    const first = fc.array(conversation, { minLength: AT_ONCE, maxLength: AT_ONCE });
    const run = (share: number) =>
      cases.run(
        "sockets: a dozen at once",
        share / AT_ONCE,
        first,
        (all) => {
          cases.count("sockets: conversations", all.length);
          return allGoOn(server.port, all);
        },
        (all) => all.map(shown).join("\n"),
      );
    await run(0.3);
    for (const socket of slow) socket.destroy();
    await Bun.sleep(SETTLE_MS);
    const warm = await server.holds();
    const again = await slowConnections(server.port);
    await run(0.7);
    for (const socket of again) socket.destroy();
    await Bun.sleep(SETTLE_MS);
    const end = await server.holds();
    const mib = (bytes: number) => (bytes / 1_048_576).toFixed(1);
    cases.notes.push(
      `${SLOW} slow connections beside; memory ${mib(warm.rssBytes)} -> ${mib(end.rssBytes)} MiB, open files ${warm.files} -> ${end.files}`,
    );
    if (end.files > warm.files + MAX_NEW_FILES)
      found("sockets: at the end", `${end.files - warm.files} files more are open`);
    if (end.rssBytes > warm.rssBytes + MAX_GROWTH_BYTES) found("sockets: at the end", "memory grew");
  } finally {
    await ended(server, found);
  }
  return cases.report();
}

async function ended(server: FuzzedServer, found: (what: string, why: string) => void): Promise<void> {
  const status = await server.stop();
  if (status !== 0) found("sockets: at the end", `the server ended with ${status}:\n${server.lines()}`);
  for (const line of server.alarms) found("sockets: at the end", `it logged ${line.slice(0, 1_000)}`);
}

/** What is written on one connection, piece by piece, and how it is left. */
interface Conversation {
  readonly pieces: readonly string[];
  /** `end`: no more is written, and the answer awaited; `destroy`: it is gone at once; `wait`: it is left open. */
  readonly leave: "end" | "destroy" | "wait";
}

const BODY = '{"client_id":"c","task":{"url":"https://example.com/"},"delay":3600}';
const GOOD = `POST /v1/enqueue HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;
const GET = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

const line = fc.constantFrom(
  ...[
    "POST /v1/enqueue HTTP/1.1",
    "GET /health HTTP/1.1",
    "GET /health HTTP/1.0",
    "GET http://evil.example/health HTTP/1.1",
  ],
  ...[
    "POST  /v1/enqueue  HTTP/1.1",
    "post /v1/enqueue HTTP/1.1",
    "GET * HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "CONNECT x:1 HTTP/1.1",
  ],
  ...[
    "GET /health HTTP/9.9",
    "GET /health",
    "GET",
    "",
    "\r\n",
    " GET /health HTTP/1.1",
    "GET /health\tHTTP/1.1",
    "PRI * HTTP/2.0",
  ],
  ...[
    `GET /${"a".repeat(20_000)} HTTP/1.1`,
    "GET /\0 HTTP/1.1",
    "GET /é HTTP/1.1",
    "GET /%0d%0aX: 1 HTTP/1.1",
    "\u0016\u0003\u0001\u0002\u0000\u0001",
  ],
  ...[
    "GET //health HTTP/1.1",
    "GET ?x HTTP/1.1",
    "GET #x HTTP/1.1",
    "GET health HTTP/1.1",
    "TRACE / HTTP/1.1",
    "GET /health HTTP/1.1\n",
  ],
);

const header = fc.constantFrom(
  ...[
    "Host: x",
    "Host: x",
    "Host:",
    "Host: a\r\nHost: b",
    "Host: \xff",
    "Content-Length: 1000",
    "Content-Length: 0",
    "Content-Length: -1",
  ],
  ...[
    `Content-Length: ${BODY.length}`,
    "Content-Length: 99999999999999999999",
    "Content-Length: 1e3",
    "Content-Length: 5\r\nContent-Length: 6",
  ],
  ...[
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length : 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
  ],
  ...[
    "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked, identity",
  ],
  ...[
    "Expect: 100-continue",
    "Expect: the unexpected",
    "Connection: close",
    "Connection: upgrade\r\nUpgrade: h2c",
    "Upgrade: websocket\r\nConnection: Upgrade",
  ],
  ...[
    `X-Long: ${"a".repeat(30_000)}`,
    "No colon",
    "\0: x",
    "X-A: a\0b",
    ": x",
    " folded: x",
    "X-Request-Id: a\r\n b",
    "X-Request-Id: a\rX-Evil: 1",
  ],
  ...[
    "Content-Type: application/json",
    "Content-Type: application/json",
    "Content-Type: application/x-ndjson",
    "Cookie: a=b",
    "Accept-Encoding: \xff",
  ],
  ...[Array.from({ length: 300 }, (_, at) => `X-${at}: ${at}`).join("\r\n")],
);

const tail = fc.constantFrom(
  ...[
    BODY,
    BODY,
    "",
    BODY.slice(0, 20),
    `${BODY}${GET}`,
    "5\r\nhello\r\n0\r\n\r\n",
    `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`,
  ],
  ...[
    "ZZ\r\nhello\r\n",
    "ffffffffffffffff\r\n",
    "-1\r\n",
    "5;ext=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    "5\r\nhelloX",
    "0\r\n\r\n0\r\n\r\n",
    "\r\n\r\n\r\n",
  ],
);

const request = fc
  .tuple(line, fc.array(header, { maxLength: 4 }), tail, fc.constantFrom("\r\n", "\r\n", "\r\n", "\n", "\r"))
  .map(
    ([first, headers, body, newline]) => `${[first, ...headers].join(newline)}${newline}${newline}${body}`,
  );

const stream = fc.oneof(
  { weight: 6, arbitrary: request },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.oneof(request, fc.constantFrom(GOOD, GET)), { minLength: 2, maxLength: 12 })
      .map((all) => all.join("")),
  },
  { weight: 1, arbitrary: fc.integer({ min: 2, max: 40 }).map((count) => GET.repeat(count)) },
  {
    weight: 1,
    arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "SSH-2.0-x\r\n",
      "*1\r\n$4\r\nPING\r\n",
    ),
  },
);

const conversation: fc.Arbitrary<Conversation> = fc
  .tuple(
    stream,
    fc.array(fc.nat(400), { maxLength: 3 }),
    fc.constantFrom("end", "end", "end", "destroy", "wait"),
  )
  .map(([whole, cuts, leave]) => {
    const places = [...cuts.map((cut) => cut % (whole.length + 1)), 0, whole.length].sort((a, b) => a - b);
    const pieces = places.slice(1).map((place, at) => whole.slice(places[at], place));
    return { pieces: pieces.filter((piece) => piece !== ""), leave: leave as Conversation["leave"] };
  });

function shown({ pieces, leave }: Conversation): string {
  return `${leave}: ${JSON.stringify(pieces.map((piece) => (piece.length > 300 ? `${piece.slice(0, 300)}… (${piece.length})` : piece)))}`;
}

/** All of them at once; meanwhile somebody else is answered. */
async function allGoOn(port: number, all: readonly Conversation[]): Promise<void> {
  const others = Promise.all(all.map((one) => held(port, one)));
  const wire = new Wire(port);
  const startedMs = performance.now();
  const answer = await wire.send({ method: "GET", path: "/version", headers: [], body: null });
  const tookMs = performance.now() - startedMs;
  wire.close();
  must(answer?.status === 200, () => `somebody else was answered ${answer?.status}`);
  must(tookMs < RESPONSIVE_MS, () => `somebody else waited ${tookMs} ms`);
  for (const [at, heard] of (await others).entries()) judged(heard, all[at]?.pieces.join("") ?? "");
}

/** What was heard is whole answers of HTTP, none of them a failure of ours, and no more than there were requests. */
function judged(heard: Buffer, sent: string): void {
  let rest = heard;
  let answers = 0;
  for (;;) {
    const parsed = parseAnswer(rest, /^HEAD /.test(sent), true);
    if (parsed === null) break;
    const { status, headers, text } = parsed.answer;
    must(status < 500 || RUNTIMES.has(status), () => `answered ${status}: ${text.slice(0, 300)}`);
    must(!headers.has("x-evil"), () => "a header was injected");
    const isOurs = headers.has("x-request-id");
    must(
      isOurs || RUNTIMES.has(status) || status === 100,
      () => `${status} is not ours: ${text.slice(0, 200)}`,
    );
    if (status !== 100) answers++;
    rest = rest.subarray(parsed.used);
  }
  const most = (sent.match(/HTTP\/\d/gi) ?? []).length + 1;
  must(answers <= most, () => `${answers} answers to ${most} requests`);
}

/** Holds a conversation, and gives all that was heard until the server or the silence ended it. */
function held(port: number, { pieces, leave }: Conversation): Promise<Buffer> {
  return new Promise((resolve) => {
    const heard: Buffer[] = [];
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }, async () => {
      socket.setNoDelay(true);
      for (const piece of pieces) {
        if (socket.destroyed) return;
        await new Promise<void>((written) => socket.write(Buffer.from(piece, "latin1"), () => written()));
      }
      if (leave === "destroy") socket.destroy();
      else if (leave === "end") socket.end();
    });
    socket.setTimeout(SILENCE_MS, () => socket.destroy());
    socket.on("data", (data: Buffer) => heard.push(data));
    socket.on("end", () => socket.destroy());
    // A refusal may reset the connection while more is still being sent.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => resolve(Buffer.concat(heard)));
  });
}

/** Connections that have begun a request and do not end it; the caller lets go of them. */
async function slowConnections(port: number): Promise<readonly Socket[]> {
  const beginnings = ["", "POST", "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ", GOOD.slice(0, -10)];
  return Promise.all(
    Array.from({ length: SLOW }, (_, at) => {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.on("error", () => socket.destroy());
      return new Promise<Socket>((resolve, reject) => {
        socket.once("connect", () => {
          socket.write(beginnings[at % beginnings.length] ?? "");
          resolve(socket);
        });
        socket.once("error", reject);
      });
    }),
  );
}
