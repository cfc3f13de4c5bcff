/** Settings of the store: which one is chosen, what its addresses may look like, and what does not go with it. */

import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Env, shownValue } from "../../src/config.ts";
import { loadConfig } from "./load.ts";

/** The settings in force, where nothing is wrong with them. */
function configOf(env: Env) {
  const { config, problems } = loadConfig(env);
  expect(problems).toEqual([]);
  return config;
}

describe("the store in force", () => {
  test("is STORE_URL's, else REDIS_SENTINEL_ADDR's, else REDIS_ADDR's, else the embedded one", () => {
    const env: Record<string, string> = {
      STORE_URL: "redis://first:6379/3",
      REDIS_SENTINEL_ADDR: "second:26379",
      REDIS_ADDR: "third:6379",
      DATA_DIR: "/fourth",
    };
    const urls: string[] = [];
    for (const name of [...Object.keys(env)]) {
      urls.push(configOf(env).STORE_URL);
      delete env[name];
    }
    expect(urls).toEqual([
      "redis://first:6379/3",
      "redis+sentinel://second:26379/mymaster",
      "redis://third:6379/0",
      "sqlite:/fourth/task-runner.db",
    ]);
  });

  test("REDIS_SENTINEL_ADDRS is another name of REDIS_SENTINEL_ADDR; both, and different, are refused", () => {
    const { config, sources } = loadConfig({ REDIS_SENTINEL_ADDRS: "a:1, b", REDIS_MASTER_NAME: "main" });
    expect(config.STORE_URL).toBe("redis+sentinel://a:1,b/main");
    expect(sources.REDIS_SENTINEL_ADDR).toBe("environment (REDIS_SENTINEL_ADDRS)");
    expect(sources.STORE_URL).toBe("REDIS_SENTINEL_ADDR");
    configOf({ REDIS_SENTINEL_ADDRS: "a:1", REDIS_SENTINEL_ADDR: "a:1" });
    const both = loadConfig({ REDIS_SENTINEL_ADDRS: "a:1", REDIS_SENTINEL_ADDR: "b:1" });
    expect(both.problems.map(({ line }) => line)).toEqual([
      "REDIS_SENTINEL_ADDR and REDIS_SENTINEL_ADDRS are both set: allowed is one of them",
    ]);
  });

  test("decides what an acknowledgement means and whether we bound its size", () => {
    const chosen = (env: Env) => {
      const { DURABILITY, STORE_MAX_BYTES } = configOf(env);
      return { DURABILITY, STORE_MAX_BYTES };
    };
    expect(chosen({})).toEqual({ DURABILITY: undefined, STORE_MAX_BYTES: 10 * 1024 ** 3 });
    expect(chosen({ REDIS_ADDR: "h" })).toEqual({ DURABILITY: "primary", STORE_MAX_BYTES: 0 });
    expect(chosen({ REDIS_SENTINEL_ADDR: "h" })).toEqual({ DURABILITY: "replicated", STORE_MAX_BYTES: 0 });
    expect(chosen({ STORE_URL: "redis+sentinel://h/m" }).DURABILITY).toBe("replicated");
    expect(chosen({ REDIS_SENTINEL_ADDR: "h", DURABILITY: "PRIMARY" }).DURABILITY).toBe("primary");
    expect(chosen({ REDIS_ADDR: "h", DURABILITY: "replicated", STORE_MAX_BYTES: "5" })).toEqual({
      DURABILITY: "replicated",
      STORE_MAX_BYTES: 5,
    });
  });
});

describe("what does not go with the store", () => {
  const warningsOf = (env: Env) => {
    const { problems, warnings } = loadConfig(env);
    expect(problems).toEqual([]);
    return warnings.map((warning) => warning.split(" ", 1)[0]);
  };

  test("is pointed out", () => {
    expect(warningsOf({ REDIS_ADDR: "h", STORE_URL: "sqlite::memory:" })).toEqual(["REDIS_ADDR"]);
    expect(warningsOf({ REDIS_SENTINEL_ADDR: "h", REDIS_ADDR: "h" })).toEqual(["REDIS_ADDR"]);
    expect(warningsOf({ REDIS_SENTINEL_ADDR: "h", STORE_URL: "redis://i" })).toEqual(["REDIS_SENTINEL_ADDR"]);
    expect(warningsOf({ STORE_URL: "redis+sentinel://h/m", REDIS_MASTER_NAME: "n" })).toEqual([
      "REDIS_MASTER_NAME",
    ]);
    expect(warningsOf({ STORE_URL: "redis://:p@h", REDIS_PASSWORD: "q" })).toEqual(["REDIS_PASSWORD"]);
    expect(warningsOf({ STORE_URL: "redis://h", REDIS_PASSWORD: "q" })).toEqual([]);
    expect(warningsOf({ KEY_PREFIX: "a", DURABILITY: "primary" })).toEqual(["KEY_PREFIX", "DURABILITY"]);
    expect(warningsOf({ REDIS_ADDR: "h", REDIS_MIN_REPLICA_ACKS: "2", REDIS_ACK_TIMEOUT_MS: "9" })).toEqual([
      "REDIS_MIN_REPLICA_ACKS",
      "REDIS_ACK_TIMEOUT_MS",
    ]);
    expect(warningsOf({ REDIS_SENTINEL_ADDR: "h", REDIS_MIN_REPLICA_ACKS: "2" })).toEqual([]);
  });

  test("is refused where it promises what the embedded store cannot keep", () => {
    const { problems } = loadConfig({ DURABILITY: "replicated", STORE_URL: "sqlite:a.db" });
    expect(problems.map(({ name }) => name)).toEqual(["DURABILITY"]);
    expect(problems[0]?.line).toContain("REDIS_SENTINEL_ADDR");
  });

  test("is refused where a user has no password, without the name, which may be a password itself", () => {
    for (const STORE_URL of ["redis://hunter2@h", "redis+sentinel://hunter2@h/mymaster"]) {
      const { config, problems } = loadConfig({ STORE_URL });
      expect(problems.map(({ name }) => name)).toEqual(["STORE_URL"]);
      expect(problems[0]?.line).toMatch(/^STORE_URL names a user without a password: .*REDIS_PASSWORD_FILE/);
      expect(problems[0]?.line).not.toContain("hunter2");
      expect(shownValue(config, "STORE_URL")).toContain("://(hidden)@h");
    }
  });

  test("is fine where a user's password comes from REDIS_PASSWORD or its file, and is then not warned of", () => {
    const dir = mkdtempSync(join(tmpdir(), "task-runner-store-"));
    const file = join(dir, "password");
    writeFileSync(file, "p@ss\n");
    for (const env of [{ REDIS_PASSWORD: "p@ss" }, { REDIS_PASSWORD_FILE: file }]) {
      const { config, problems, warnings } = loadConfig({ STORE_URL: "redis://user@h", ...env });
      expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
      expect(config.REDIS_PASSWORD).toBe("p@ss");
    }
    rmSync(dir, { recursive: true });
  });

  test("is told once where a user's password is set and wrong", () => {
    const wrong: Env[] = [{ REDIS_PASSWORD: "a\u0000b" }, { REDIS_PASSWORD_FILE: "/no/such/file" }];
    for (const env of wrong) {
      const { problems } = loadConfig({ STORE_URL: "redis://user@h", ...env });
      expect(problems.map(({ name }) => name)).toEqual(Object.keys(env));
    }
  });

  test("is not guessed at while the address that would choose the store is wrong", () => {
    const { problems } = loadConfig({ DURABILITY: "replicated", REDIS_ADDR: "h:0" });
    expect(problems.map(({ name }) => name)).toEqual(["REDIS_ADDR"]);
  });
});

describe("the form of a Redis address", () => {
  test.each([
    "redis://h",
    "redis://h:6379/15",
    "REDIS://h/",
    "rediss://user:p%40ss@h:1",
    "redis://:p@ss:w/o?r#d@[::1]:6379/0",
    "redis+sentinel://a:1,b:2,c/mymaster",
    "rediss+sentinel://:p@[::1]:26379/my-master/2",
  ])("%s is a STORE_URL", (url) => {
    expect(configOf({ STORE_URL: url }).STORE_URL).toBe(url);
  });

  test.each([
    "redis://",
    "redis:h:6379",
    "redis://h:0",
    "redis://h:65536",
    "redis://h/one",
    "redis://h/65536",
    "redis://user:@h",
    "redis://:@h",
    "redis://:%zz@h",
    "redis://:%ff@h",
    "redis://a,b/0",
    "redis://h/0?db=1",
    "redis+sentinel://a:1,b:2",
    "redis+sentinel://a:1,,b:2/m",
    "redis+sentinel://a/m/0/x",
    "redis+sentinel://a/%",
    "redis+cluster://a/m",
  ])("%s is none", (url) => {
    expect(loadConfig({ STORE_URL: url }).problems.map(({ name }) => name)).toEqual(["STORE_URL"]);
  });

  test.each([
    ["REDIS_ADDR", "h:0"],
    ["REDIS_ADDR", "a,b"],
    ["REDIS_ADDR", "h/1"],
    ["REDIS_ADDR", "user:password@h"],
    ["REDIS_SENTINEL_ADDR", "a:1,,b"],
    ["REDIS_SENTINEL_ADDR", "a:1/other"],
  ])("%s=%s is none, and told with the other wrong ones", (name, text) => {
    const { problems } = loadConfig({ [name]: text, MAX_RETRY: "many" });
    expect(problems.map((problem) => problem.name)).toEqual([name, "MAX_RETRY"]);
    expect(problems[0]?.line).not.toContain("password");
  });
});
