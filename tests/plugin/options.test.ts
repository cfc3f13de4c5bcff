/** A plugin's options: read under its prefix, judged by its schema, pointed out where they are misspelt, never shown when secret. */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TProperties, Type } from "@sinclair/typebox";
import type { Env } from "../../src/config.ts";
import { loadConfig } from "../config/load.ts";

const dir = mkdtempSync(join(tmpdir(), "task-runner-options-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const SCHEMA: TProperties = {
  BUS_SERVERS: Type.String({ pattern: "^[a-z:0-9]+$", allowed: "host:port" }),
  BUS_SIZE: Type.Integer({ default: 5, minimum: 1, maximum: 9 }),
  BUS_RATE: Type.Number({ default: 0.5 }),
  BUS_FAST: Type.Boolean({ default: false }),
  BUS_MODE: Type.Union([Type.Literal("Plain"), Type.Literal("framed")], { default: "Plain" }),
  BUS_TOKEN: Type.Optional(Type.String({ secret: true, minLength: 4 })),
};

function read(env: Env, properties: TProperties = SCHEMA, prefix = "BUS_") {
  return loadConfig(env).optionsOf({ owner: 'plugin "bus"', prefix, schema: Type.Object(properties) });
}

const linesOf = (...args: Parameters<typeof read>) => read(...args).problems.map(({ line }) => line);

describe("options of a plugin", () => {
  test("have the types of their schema, and its defaults where they are unset or blank", () => {
    const env = { BUS_SERVERS: " a:1 ", BUS_SIZE: "7", BUS_RATE: "1.25", BUS_FAST: "1", BUS_MODE: "plain" };
    expect(read(env)).toMatchObject({
      problems: [],
      warnings: [],
      values: { BUS_SERVERS: "a:1", BUS_SIZE: 7, BUS_RATE: 1.25, BUS_FAST: true, BUS_MODE: "Plain" },
    });
    expect(read({ BUS_SERVERS: "a:1", BUS_SIZE: " " }).values).toEqual({
      BUS_SERVERS: "a:1",
      BUS_SIZE: 5,
      BUS_RATE: 0.5,
      BUS_FAST: false,
      BUS_MODE: "Plain",
    });
  });

  test("are told all at once when they are wrong, a secret without its value", () => {
    const env = { BUS_SIZE: "10", BUS_RATE: "x", BUS_FAST: "maybe", BUS_MODE: "odd", BUS_TOKEN: "abc" };
    expect(linesOf(env)).toEqual([
      "BUS_SERVERS is not set and has no default: allowed is host:port",
      'BUS_SIZE="10" is not allowed: a whole number from 1 to 9; default 5',
      'BUS_RATE="x" is not allowed: a number; default 0.5',
      'BUS_FAST="maybe" is not allowed: true or false; default false',
      'BUS_MODE="odd" is not allowed: one of Plain, framed; default Plain',
      "BUS_TOKEN (value hidden) is not allowed: any text; default none",
    ]);
  });

  test("may have a secret in a file, and tell when it cannot be read", () => {
    const path = join(dir, "token");
    writeFileSync(path, "from-a-file\n");
    const found = read({ BUS_SERVERS: "a", BUS_TOKEN_FILE: path });
    expect(found.values.BUS_TOKEN).toBe("from-a-file");
    expect(found.warnings).toEqual([]);
    const option = found.options.find(({ name }) => name === "BUS_TOKEN");
    expect(option).toMatchObject({ source: `file ${path}`, secret: true });
    expect(linesOf({ BUS_SERVERS: "a", BUS_TOKEN_FILE: join(dir, "none") })[0]).toStartWith(
      "BUS_TOKEN_FILE names a file that cannot be read: ",
    );
    expect(linesOf({ BUS_SERVERS: "a", BUS_TOKEN: "direct", BUS_TOKEN_FILE: path })).toEqual([
      "BUS_TOKEN and BUS_TOKEN_FILE are both set: allowed is one of them",
    ]);
  });

  test("come from an --env-file below the environment, as settings do", () => {
    const loaded = loadConfig(
      { BUS_SIZE: "2" },
      { envFile: { path: "x.env", env: { BUS_SIZE: "3", BUS_SERVERS: "b" } } },
    );
    const found = loaded.optionsOf({ owner: "it", prefix: "BUS_", schema: Type.Object(SCHEMA) });
    expect(found.values).toMatchObject({ BUS_SIZE: 2, BUS_SERVERS: "b" });
    expect(found.options[0]).toMatchObject({ name: "BUS_SERVERS", source: "--env-file x.env" });
  });

  test("that do not exist are pointed out with the one that was meant; what Kubernetes sets is left alone", () => {
    const kubernetes = {
      BUS_SERVICE_HOST: "10.0.0.1",
      BUS_SERVICE_PORT: "4222",
      BUS_SERVICE_PORT_CLIENT: "4222",
      BUS_PORT: "tcp://10.0.0.1:4222",
      BUS_PORT_4222_TCP: "tcp://10.0.0.1:4222",
      BUS_PORT_4222_TCP_ADDR: "10.0.0.1",
    };
    const env = { BUS_SERVERS: "a", BUS_TOKNE: "secret-value", BUS_OTHER: "x", BUSY: "x", ...kubernetes };
    expect(read(env).warnings).toEqual([
      'BUS_TOKNE is not an option of plugin "bus" and has no effect: did you mean BUS_TOKEN?',
      'BUS_OTHER is not an option of plugin "bus" and has no effect: its options are BUS_SERVERS, BUS_SIZE, BUS_RATE, BUS_FAST, BUS_MODE, BUS_TOKEN, BUS_TOKEN_FILE',
    ]);
  });

  test("must not look like settings of Task Runner's own, nor have a prefix that is none", () => {
    for (const prefix of ["REDIS_", "LOG_", "TASK_", "TASK_RUNNER_", "TASK_RUNNER_BUS_"]) {
      expect(linesOf({}, { [`${prefix}X`]: Type.Optional(Type.String()) }, prefix), prefix).toEqual([
        `plugin "bus": envPrefix "${prefix}" is not allowed: Task Runner has settings of its own that begin so`,
      ]);
    }
    for (const prefix of ["bus_", "BUS", "_", "", "B-S_"]) {
      expect(linesOf({}, {}, prefix)[0], prefix).toContain(
        "capitals, digits and underscores, one at its end",
      );
    }
  });

  test("must be what the environment can hold, under the prefix, with a schema that works", () => {
    const faults: readonly (readonly [TProperties, string])[] = [
      [{ OTHER: Type.String() }, 'option "OTHER" is not allowed: it must be named in capitals and begin'],
      [{ BUS_url: Type.String() }, 'option "BUS_url" is not allowed'],
      [{ BUS_LIST: Type.Array(Type.String()) }, "option BUS_LIST is not allowed: it must be text, a number"],
      [
        { BUS_SIZE: Type.Integer({ default: 0, minimum: 1 }) },
        "BUS_SIZE has a schema that does not work: it refuses its own default",
      ],
      [{ BUS_X: Type.String({ pattern: "(" }) }, "BUS_X has a schema that does not work: "],
    ];
    for (const [properties, words] of faults) {
      const lines = linesOf({ BUS_X: "x" }, properties);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toStartWith('plugin "bus": ');
      expect(lines[0]).toContain(words);
    }
  });
});
