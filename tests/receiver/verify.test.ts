/** The receiver kit takes what was signed with a secret in force, lately, as it was sent, and nothing else. */

import { describe, expect, test } from "bun:test";
import { createServer } from "node:http";
import { type VerificationCode, VerificationError, type VerifyOptions, verify } from "task-runner/receiver";
import { secretNumber } from "../support/signing.ts";
import { NOW_MS, SECRET, type SignedOptions, signedHeaders, signedRequest, TASK_ID } from "./requests.ts";

const now = () => NOW_MS;
const OTHER = secretNumber(2);
const BYTES = new Uint8Array([0xff, 0x00, 0xc3, 0x28, 0xef, 0xbb, 0xbf, 0x0a]);

/** Why a request is refused; it has to be. */
async function refusal(
  request: Parameters<typeof verify>[0],
  secrets: string | readonly string[] = SECRET,
  options: VerifyOptions = {},
): Promise<VerificationCode> {
  try {
    await verify(request, secrets, { now, ...options });
  } catch (thrown) {
    if (!(thrown instanceof VerificationError)) throw thrown;
    return thrown.code;
  }
  throw new Error("it was not refused");
}

const refusedWith = (options: SignedOptions) => refusal(signedRequest(options));

describe("verify", () => {
  test("tells of a delivery what its headers say, and gives its body", async () => {
    expect(await verify(signedRequest({ body: '{"a":1}' }), SECRET, { now })).toEqual({
      taskId: TASK_ID,
      attempt: 2,
      fence: 5,
      queue: "mail",
      scheduledAt: new Date("2025-12-31T23:59:00.000Z"),
      body: new TextEncoder().encode('{"a":1}'),
    });
  });

  test.each([
    ["text", "naïve ✓"],
    ["nothing", ""],
    ["bytes that are no text", BYTES],
    ["bytes of text", new TextEncoder().encode("\ufeffnaïve")],
  ])("takes %s as a body, however it is given", async (_what, body) => {
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const headers = signedHeaders({ body });
    expect((await verify(signedRequest({ body }), SECRET, { now })).body).toEqual(bytes);
    const given = [
      body,
      bytes,
      Buffer.from(bytes),
      bytes.slice().buffer,
      ...(bytes.length === 0 ? [null] : []),
    ];
    for (const read of given) {
      const received = await verify({ headers, body: read }, SECRET, { now });
      expect(new Uint8Array(received.body)).toEqual(bytes);
    }
  });

  test("takes headers in every form they come in", async () => {
    const headers = signedHeaders();
    const capitals = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.replace(/^[a-z]/, (a) => a.toUpperCase()), value]),
    );
    const lists = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
    for (const form of [headers, new Headers(headers), capitals, lists]) {
      expect((await verify({ headers: form, body: "{}" }, SECRET, { now })).fence).toBe(5);
    }
  });

  test("takes a delivery that is signed with any of the secrets in force", async () => {
    const both = { secrets: [SECRET, OTHER] };
    for (const known of [SECRET, [OTHER], [SECRET, OTHER], [secretNumber(3), OTHER]]) {
      expect((await verify(signedRequest(both), known, { now })).taskId).toBe(TASK_ID);
    }
    expect((await verify(signedRequest(), [OTHER, SECRET], { now })).taskId).toBe(TASK_ID);
    const bare = SECRET.slice("whsec_".length);
    expect((await verify(signedRequest(), bare, { now })).taskId).toBe(TASK_ID);
  });

  test("refuses other secrets, and signatures of another version or form", async () => {
    expect(await refusal(signedRequest(), OTHER)).toBe("wrong_signature");
    const [, digest = ""] = signedHeaders()["webhook-signature"].split(",");
    for (const signature of [
      `v2,${digest}`,
      `v1a,${digest}`,
      digest,
      `v1,${digest.slice(0, -1)}`,
      `v1,${digest.slice(1)}`,
      `v1,${digest}A`,
      "v1,",
      `v1,${digest},`,
    ]) {
      expect(await refusedWith({ headers: { "webhook-signature": signature } })).toBe("wrong_signature");
    }
  });

  test("refuses a body, an id or a time that was changed", async () => {
    const headers = signedHeaders({ body: "pay 10" });
    for (const body of ["pay 100", "pay 1", "pay 10 ", "", null]) {
      expect(await refusal({ headers, body })).toBe("wrong_signature");
    }
    const changed = [
      { "webhook-id": "another", "x-task-id": "another" },
      { "webhook-timestamp": String(Math.floor(NOW_MS / 1_000) - 1) },
    ];
    for (const header of changed) expect(await refusedWith({ headers: header })).toBe("wrong_signature");
    expect(await refusedWith({ headers: { "x-task-id": "another" } })).toBe("malformed_header");
  });

  test("allows five minutes either way, or as many seconds as it is told", async () => {
    const aged = (ageSec: number) => signedRequest({ atMs: NOW_MS - ageSec * 1_000 });
    for (const ageSec of [300, -300]) expect((await verify(aged(ageSec), SECRET, { now })).attempt).toBe(2);
    expect([await refusal(aged(301)), await refusal(aged(-301))]).toEqual(["too_old", "too_new"]);
    const strict = { toleranceSec: 1 };
    expect((await verify(aged(1), SECRET, { now, ...strict })).attempt).toBe(2);
    expect(await refusal(aged(2), SECRET, strict)).toBe("too_old");
    expect((await verify(aged(3_600), SECRET, { now, toleranceSec: 3_600 })).attempt).toBe(2);
  });

  test("goes by the system's clock unless it is given one", async () => {
    expect((await verify(signedRequest({ atMs: Date.now() }), SECRET)).attempt).toBe(2);
    await expect(verify(signedRequest({ atMs: Date.now() - 400_000 }), SECRET)).rejects.toThrow(
      "signed 400 s ago",
    );
  });

  test.each(["1e9", "-1", "+1767225600", "1767225600.0", " 1767225600", "0x10", "01767225600", "NaN"])(
    "refuses %p as a time",
    async (timestamp) => {
      const headers = { ...signedHeaders(), "webhook-timestamp": timestamp };
      expect(await refusal({ headers, body: "{}" })).toBe("malformed_header");
    },
  );

  test("refuses a request that lacks a header, has it twice, or has something else in it", async () => {
    for (const name of Object.keys(signedHeaders()) as (keyof ReturnType<typeof signedHeaders>)[]) {
      const { [name]: value, ...rest } = signedHeaders();
      expect(await refusal({ headers: rest, body: "{}" })).toBe("missing_header");
      expect(await refusal({ headers: { ...rest, [name]: "" }, body: "{}" })).toBe("missing_header");
      expect(await refusal({ headers: { ...rest, [name]: [value, value] }, body: "{}" })).toBe(
        "missing_header",
      );
    }
    for (const fence of ["0", "-1", "1.5", "1e3", "five", "9007199254740993", "99999999999999999999"]) {
      expect(await refusedWith({ headers: { "x-task-fence": fence } })).toBe("malformed_header");
      expect(await refusedWith({ headers: { "x-task-attempt": fence } })).toBe("malformed_header");
    }
    expect(await refusedWith({ headers: { "x-task-scheduled-at": "soon" } })).toBe("malformed_header");
  });

  test("reads no more of a body than it is told, and none of a request that is too old", async () => {
    const body = "x".repeat(1_000);
    expect((await verify(signedRequest({ body }), SECRET, { now, maxBodyBytes: 1_000 })).body.length).toBe(
      1_000,
    );
    expect(await refusal(signedRequest({ body }), SECRET, { maxBodyBytes: 999 })).toBe("body_too_large");
    expect(await refusal({ headers: signedHeaders({ body }), body }, SECRET, { maxBodyBytes: 999 })).toBe(
      "body_too_large",
    );
    let read = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        read += 65_536;
        controller.enqueue(new Uint8Array(65_536));
      },
    });
    const init = { method: "POST", headers: signedHeaders(), body: endless, duplex: "half" };
    expect(await refusal(new Request("https://receiver.example/", init))).toBe("body_too_large");
    expect(read).toBeLessThan(2 * 1_048_576);
    const old = signedRequest({ atMs: 0 });
    expect(await refusal(old)).toBe("too_old");
    expect(old.bodyUsed).toBe(false);
  });

  test("says in its errors which status to answer, and tells neither secret nor body", async () => {
    const request = signedRequest({ body: "confidential" });
    const thrown = await verify(request, OTHER, { now }).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ name: "VerificationError", code: "wrong_signature", status: 401 });
    const text = String(thrown) + JSON.stringify(thrown);
    for (const hidden of [OTHER.slice(6, 20), SECRET.slice(6, 20), "confidential"]) {
      expect(text).not.toContain(hidden);
    }
    const status = async (options: SignedOptions, more: VerifyOptions = {}) =>
      verify(signedRequest(options), SECRET, { now, ...more }).catch(
        (error: VerificationError) => error.status,
      );
    expect(await status({ atMs: 0 })).toBe(401);
    expect(await status({ headers: { "x-task-fence": "x" } })).toBe(400);
    expect(await status({ headers: { "webhook-id": "" } })).toBe(400);
    expect(await status({}, { maxBodyBytes: 1 })).toBe(413);
  });

  test("throws at whoever calls it wrongly: no secret, one that is none, a body that was read or parsed", async () => {
    const wrong = [
      verify(signedRequest(), [], { now }),
      verify(signedRequest(), "", { now }),
      verify(signedRequest(), "whsec_", { now }),
      verify(signedRequest(), "whsec_not base64!", { now }),
      verify({ headers: signedHeaders(), body: { a: 1 } as unknown as string }, SECRET, { now }),
    ];
    const read = signedRequest();
    await read.text();
    wrong.push(verify(read, SECRET, { now }));
    for (const call of wrong) {
      const thrown = await call.catch((error: unknown) => error);
      expect(thrown).toBeInstanceOf(TypeError);
      expect(String(thrown)).not.toContain("not base64!");
    }
  });

  test("takes what Node's http makes of a request", async () => {
    const received = Promise.withResolvers<Awaited<ReturnType<typeof verify>>>();
    const server = createServer(async (incoming, answer) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      verify({ headers: incoming.headers, body }, SECRET, { now }).then(received.resolve, received.reject);
      answer.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as { port: number };
      const init = { method: "POST", headers: signedHeaders({ body: BYTES }), body: BYTES };
      await fetch(`http://127.0.0.1:${port}/`, init);
      expect(new Uint8Array((await received.promise).body)).toEqual(BYTES);
    } finally {
      server.close();
    }
  });
});
