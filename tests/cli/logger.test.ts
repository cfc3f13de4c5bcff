/** The log: one JSON object a line, and no secret in any of them. */

import { expect, test } from "bun:test";
import { createLogger, type LogLevel } from "../../src/telemetry/logger.ts";

function logged(level: LogLevel, write: (logger: ReturnType<typeof createLogger>) => void) {
  const lines: string[] = [];
  write(createLogger({ level, role: "serve", destination: { write: (line) => lines.push(line) } }));
  return lines;
}

test("a line says level, service, role and time in words", () => {
  const [line = ""] = logged("info", (logger) => logger.info({ port: 1 }, "hello"));
  expect(line.endsWith("\n")).toBe(true);
  expect(JSON.parse(line)).toEqual({
    level: "info",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    service: "task-runner",
    role: "serve",
    port: 1,
    msg: "hello",
  });
});

test("lines below the level are not written", () => {
  expect(logged("warn", (logger) => logger.info("quiet"))).toEqual([]);
});

test("whatever is named like a secret is blanked out, at any depth and in child loggers", () => {
  const secrets = {
    adminKey: "hunter2",
    ADMIN_API_KEY: "hunter2",
    password: "hunter2",
    clientSecret: "hunter2",
    secretsKey: "hunter2",
    SECRETS_KEY: "hunter2",
    delivery: { signingSecrets: ["hunter2"] },
    token: "hunter2",
    request: { headers: [{ Authorization: "hunter2", "x-admin-key": "hunter2", "set-cookie": "hunter2" }] },
  };
  const lines = logged("info", (logger) => {
    logger.info(secrets, "direct");
    logger
      .child({ adminKey: "hunter2", password: "hunter2", secretsKey: "hunter2", signingSecrets: ["hunter2"] })
      .child({ token: "hunter2" })
      .error(secrets, "bound");
  });
  expect(lines).toHaveLength(2);
  expect(lines.join("")).not.toContain("hunter2");
  expect(lines[1]).toContain('"adminKey":"[hidden]"');
});

test("keys that open nothing, and errors, are kept", () => {
  const [line = ""] = logged("info", (logger) =>
    logger.info({ ordering_key: "o", idempotencyKey: "i", err: new Error("boom") }, "kept"),
  );
  expect(JSON.parse(line)).toMatchObject({
    ordering_key: "o",
    idempotencyKey: "i",
    err: { message: "boom" },
  });
});

test("a cycle does not hold up a line", () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  expect(logged("info", (logger) => logger.info({ cycle }, "round"))).toHaveLength(1);
});
