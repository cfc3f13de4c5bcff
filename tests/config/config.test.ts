/** Settings: where they come from, what is refused, what is pointed out, and that a secret is never shown. */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type Env, readEnvFile, roleIn, SETTING_NAMES, settingOf, shownValue } from "../../src/config.ts";
import { loadConfig } from "./load.ts";

const dir = mkdtempSync(join(tmpdir(), "task-runner-config-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
function fileWith(text: string): string {
  const path = join(dir, `file-${files++}`);
  writeFileSync(path, text);
  return path;
}

function linesOf(env: Env): string[] {
  return loadConfig(env).problems.map(({ line }) => line);
}

describe("defaults", () => {
  test("an empty environment has every documented default and no problem", () => {
    const { config, problems, warnings, sources } = loadConfig({});
    expect(problems).toEqual([]);
    expect(warnings).toEqual([]);
    expect(config).toEqual({
      PORT: 8080,
      HOST: "0.0.0.0",
      LOG_LEVEL: "info",
      STORE_URL: `sqlite:${join("data", "task-runner.db")}`,
      DATA_DIR: "./data",
      REDIS_MASTER_NAME: "mymaster",
      REDIS_TLS: false,
      REDIS_CONNECT_RETRIES: 30,
      REDIS_RETRY_INTERVAL_SEC: 2,
      KEY_PREFIX: "task-runner",
      REDIS_MIN_REPLICA_ACKS: 1,
      REDIS_ACK_TIMEOUT_MS: 1000,
      FAILOVER_SPOOL_SEC: 60,
      CLIENT_AUTH: "off",
      DEFAULT_CLIENT_TIER: "free",
      QUEUE_AUTO_CREATE: true,
      TRACES_PER_SEC: 200,
      METRICS_CLIENT_LABELS: false,
      WORKER_CONCURRENCY: 10,
      TASK_TIMEOUT_SEC: 1800,
      MAX_RETRY: 5,
      CB_FAILURE_THRESHOLD: 5,
      CB_TIMEOUT_SEC: 30,
      CB_RETRY_AFTER: false,
      LEASE_SEC: 30,
      SHUTDOWN_DELAY_SEC: 0,
      SHUTDOWN_GRACE_SEC: 25,
      MAX_PAYLOAD_BYTES: 1_048_576,
      DEDUP_WINDOW_SEC: 3_600,
      RETENTION_SUCCEEDED_SEC: 3_600,
      RETENTION_DEAD_SEC: 604_800,
      STORE_MAX_BYTES: 10 * 1024 ** 3,
    });
    expect(new Set(Object.values(sources))).toEqual(new Set(["default"]));
    expect(roleIn(config)).toBeNull();
  });

  test("a worker listens on 8082, the other roles on 8080", () => {
    expect(loadConfig({ MODE: "worker" }).config.PORT).toBe(8082);
    expect(loadConfig({ MODE: "api" }).config.PORT).toBe(8080);
    expect(loadConfig({ MODE: "all" }).config.PORT).toBe(8080);
    expect(loadConfig({ MODE: "worker", PORT: "0" }).config.PORT).toBe(0);
  });

  test("MODE names the role", () => {
    const roles = ["api", "worker", "all"].map((MODE) => roleIn(loadConfig({ MODE }).config));
    expect(roles).toEqual(["serve", "work", "all"]);
  });

  test("an empty or blank value is an unset one, for settings, their other names and names of later versions", () => {
    const env = Object.fromEntries(SETTING_NAMES.map((name) => [name, ""]));
    const others = { REDIS_SENTINEL_ADDRS: "", ADMIN_API_KEY_FILE: "", EGRESS_DENY_CIDRS: "" };
    const loaded = loadConfig({ ...env, ...others, REDIS_ADDR: "  " });
    expect({ ...loaded, optionsOf: null }).toEqual({ ...loadConfig({}), optionsOf: null });
  });

  test("the settings cannot be changed once they are loaded", () => {
    const { config, sources } = loadConfig({});
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(sources)).toBe(true);
  });

  test("ALLOW_PRIVATE_URLS tells unset from false", () => {
    expect(loadConfig({}).config.ALLOW_PRIVATE_URLS).toBeUndefined();
    expect(loadConfig({ ALLOW_PRIVATE_URLS: "false" }).config.ALLOW_PRIVATE_URLS).toBe(false);
    expect(loadConfig({ ALLOW_PRIVATE_URLS: "TRUE" }).config.ALLOW_PRIVATE_URLS).toBe(true);
  });

  test("the embedded store lies in DATA_DIR unless STORE_URL says otherwise", () => {
    expect(loadConfig({ DATA_DIR: "/var/lib/x" }).config.STORE_URL).toBe("sqlite:/var/lib/x/task-runner.db");
    expect(loadConfig({ DATA_DIR: "/var/lib/x", STORE_URL: "sqlite::memory:" }).config.STORE_URL).toBe(
      "sqlite::memory:",
    );
  });
});

describe("precedence", () => {
  test("a flag comes before the environment, which comes before --env-file, which comes before the default", () => {
    const path = fileWith("PORT=1\nHOST=from-file\nLEASE_SEC=7\n# a comment\nMAX_RETRY='2'\n");
    const { config, sources } = loadConfig(
      { PORT: "2", HOST: "from-env", LEASE_SEC: "" },
      { flags: { PORT: { flag: "--port", text: "3" } }, envFile: readEnvFile(path) },
    );
    expect(config).toMatchObject({
      PORT: 3,
      HOST: "from-env",
      LEASE_SEC: 7,
      MAX_RETRY: 2,
      CB_TIMEOUT_SEC: 30,
      CB_RETRY_AFTER: false,
    });
    expect(sources).toMatchObject({
      PORT: "--port",
      HOST: "environment",
      LEASE_SEC: `--env-file ${path}`,
      CB_TIMEOUT_SEC: "default",
      CB_RETRY_AFTER: "default",
    });
  });

  test("a flag with an empty value is wrong, not unset", () => {
    const { problems } = loadConfig({}, { flags: { PORT: { flag: "--port", text: "" } } });
    expect(problems.map(({ name }) => name)).toEqual(["PORT"]);
  });
});

describe("wrong values", () => {
  test("each is told with its value, what is allowed and the default", () => {
    expect(linesOf({ WORKER_CONCURRENCY: "ten" })).toEqual([
      'WORKER_CONCURRENCY="ten" is not allowed: a whole number from 1 to 1000; default 10',
    ]);
    expect(linesOf({ LOG_LEVEL: "loud" })).toEqual([
      'LOG_LEVEL="loud" is not allowed: one of debug, info, warn, error; default info',
    ]);
  });

  test.each([
    ["PORT", ["-1", "65536", "80.5", "1e3", "0x50", "http"]],
    ["WORKER_CONCURRENCY", ["0", "1001"]],
    ["ALLOW_PRIVATE_URLS", ["maybe", "2"]],
    ["MODE", ["server", "serve"]],
    ["STORE_URL", ["sqlite:", "sqlite://data/x.db", "data.db", "postgres://h/db"]],
    ["KEY_PREFIX", ["{a}", "a}b", "a b", "a/b", "x".repeat(65)]],
    ["REDIS_MASTER_NAME", ["my/master", "a b"]],
    ["REDIS_TLS", ["maybe"]],
    ["REDIS_CONNECT_RETRIES", ["0", "many"]],
    ["REDIS_RETRY_INTERVAL_SEC", ["0", "1.5"]],
    ["REDIS_MIN_REPLICA_ACKS", ["0"]],
    ["REDIS_ACK_TIMEOUT_MS", ["0", "60001"]],
    ["DURABILITY", ["disk", "exactly-once"]],
    ["STORE_MAX_BYTES", ["-1", "10GB"]],
    ["CLIENT_AUTH", ["on", "true", "requierd"]],
    ["DEFAULT_CLIENT_TIER", ["my tier", "a.b", "x".repeat(65)]],
    ["QUEUE_AUTO_CREATE", ["maybe", "off"]],
    ["HOST", ["http://h", "a b"]],
  ])("%s refuses what it cannot be", (name, values) => {
    for (const value of values) {
      const problems = loadConfig({ [name]: value }).problems;
      expect(problems.map((problem) => problem.name)).toEqual([name]);
    }
  });

  test("of a wrong URL only the scheme is shown, for the rest may hold a password", () => {
    const [line] = linesOf({ STORE_URL: "redis://user:hunter2@host:6379/0?password=hunter2" });
    expect(line).toContain('STORE_URL="redis:…"');
    expect(line).toContain("sqlite:PATH, sqlite::memory:, redis://");
    for (const name of ["STORE_URL", "REDIS_SENTINEL_ADDR", "REDIS_SENTINEL_ADDRS", "REDIS_ADDR"]) {
      for (const text of ["user:hunter2@host:99999", "hunter2@", "postgres://u:hunter2@h/db"]) {
        const lines = linesOf({ [name]: text });
        expect(lines).toHaveLength(1);
        expect(lines[0]).toContain("is not allowed");
        expect(lines[0]).not.toContain("hunter2");
      }
    }
  });

  test("a line stays one line and short, whatever the value", () => {
    const [line = ""] = linesOf({ PORT: `1\n${"9".repeat(10_000)}` });
    expect(line).not.toContain("\n");
    expect(line.length).toBeLessThan(300);
  });
});

describe("secrets", () => {
  test("ADMIN_API_KEY_FILE gives the key, less one line break at its end", () => {
    const path = fileWith("s3cret key\n");
    const { config, sources, problems } = loadConfig({ ADMIN_API_KEY_FILE: path });
    expect(problems).toEqual([]);
    expect(config.ADMIN_API_KEY).toBe("s3cret key");
    expect(sources.ADMIN_API_KEY).toBe(`file ${path}`);
    expect(shownValue(config, "ADMIN_API_KEY")).toBe("(hidden)");
  });

  test("the key and its file together are an error that shows neither's content", () => {
    const [line = "", ...more] = linesOf({
      ADMIN_API_KEY: "hunter2",
      ADMIN_API_KEY_FILE: fileWith("hunter3"),
    });
    expect(more).toEqual([]);
    expect(line).toStartWith("ADMIN_API_KEY and ADMIN_API_KEY_FILE are both set");
    expect(line).not.toContain("hunter");
  });

  test("a file that is not there and one that is empty are errors, never an open administration", () => {
    expect(linesOf({ ADMIN_API_KEY_FILE: join(dir, "none") })[0]).toStartWith(
      "ADMIN_API_KEY_FILE names a file",
    );
    expect(linesOf({ ADMIN_API_KEY_FILE: fileWith("\n") })).toHaveLength(1);
  });

  test("a key that no header can carry is refused without being shown", () => {
    for (const key of ["hunter2\n", "hunt\u0000er2", " hunter2", "hünter2"]) {
      const [line = ""] = linesOf({ ADMIN_API_KEY: key });
      expect(line).toStartWith("ADMIN_API_KEY (value hidden)");
      expect(line).not.toContain(key.trim());
    }
  });
});

describe("names", () => {
  test.each([
    ["WORKER_CONCURENCY", "WORKER_CONCURRENCY"],
    ["REDIS_SENTINAL_ADDR", "REDIS_SENTINEL_ADDR"],
    ["CB_TIMOUT_SEC", "CB_TIMEOUT_SEC"],
    ["LAESE_SEC", "LEASE_SEC"],
    ["ADMIN_APIKEY", "ADMIN_API_KEY"],
    ["ADMIN_API_KEYFILE", "ADMIN_API_KEY_FILE"],
    ["max_retry", "MAX_RETRY"],
    ["TASK_RUNNER_PORT", "PORT"],
  ])("%s is pointed out as a misspelt %s, without refusing the start", (misspelt, meant) => {
    const { problems, warnings } = loadConfig({ [misspelt]: "secret-value" });
    expect(problems).toEqual([]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(misspelt);
    expect(warnings[0]).toContain(`did you mean ${meant}?`);
    expect(warnings[0]).not.toContain("secret-value");
  });

  test("names of other programs are left alone", () => {
    const env = {
      PATH: "/bin",
      HOME: "/root",
      HOSTNAME: "h",
      POST: "x",
      CODE: "x",
      DATABASE_URL: "x",
      NODE_ENV: "x",
    };
    const kubernetes = { TASK_RUNNER_PORT: "tcp://10.0.0.1:8080", TASK_RUNNER_SERVICE_HOST: "10.0.0.1" };
    expect(loadConfig({ ...env, ...kubernetes }).warnings).toEqual([]);
  });

  test("a name is found misspelt in an --env-file too", () => {
    const envFile = readEnvFile(fileWith("WORKER_CONCURENCY=5\n"));
    expect(loadConfig({}, { envFile }).warnings).toHaveLength(1);
  });

  test("what goes with a Redis is not pointed out where there is none: the template always sets it", () => {
    const { problems, warnings, config } = loadConfig({
      REDIS_MASTER_NAME: "mymaster",
      REDIS_PASSWORD: "hunter2",
      REDIS_SENTINEL_PASSWORD: "hunter2",
      REDIS_CONNECT_RETRIES: "30",
      REDIS_RETRY_INTERVAL_SEC: "2",
      REDIS_TLS: "false",
    });
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
    expect(config.STORE_URL).toStartWith("sqlite:");
  });
});

describe("the published template's environment", () => {
  const common = {
    LOG_LEVEL: "info",
    REDIS_SENTINEL_ADDR: "rel-redis-sentinel.gvc.cpln.local:26379",
    REDIS_MASTER_NAME: "mymaster",
    REDIS_PASSWORD: "p",
    REDIS_SENTINEL_PASSWORD: "q",
    REDIS_CONNECT_RETRIES: "30",
    REDIS_RETRY_INTERVAL_SEC: "2",
    OTEL_EXPORTER_OTLP_ENDPOINT: "",
  };
  const store = {
    STORE_URL: "redis+sentinel://rel-redis-sentinel.gvc.cpln.local:26379/mymaster",
    REDIS_PASSWORD: "p",
    REDIS_SENTINEL_PASSWORD: "q",
    DURABILITY: "replicated",
  };

  test("of the API works unchanged", () => {
    const env = { ...common, MODE: "api", PORT: "8080", ADMIN_API_KEY: "k" };
    const { config, problems, warnings } = loadConfig(env);
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
    expect(config).toMatchObject({ ...store, MODE: "api", PORT: 8080, ADMIN_API_KEY: "k" });
  });

  test("of the worker works unchanged", () => {
    const { config, problems, warnings } = loadConfig({
      ...common,
      MODE: "worker",
      PORT: "8082",
      WORKER_CONCURRENCY: "10",
      TASK_TIMEOUT_SEC: "1800",
      MAX_RETRY: "5",
      ALLOW_PRIVATE_URLS: "false",
      CB_FAILURE_THRESHOLD: "5",
      CB_TIMEOUT_SEC: "30",
    });
    expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
    expect(config).toMatchObject({ ...store, MODE: "worker", PORT: 8082, ALLOW_PRIVATE_URLS: false });
  });
});

test("any combination of wrong values is told in full, each name once and in order, and no secret with it", () => {
  const secret = "Tr0ub4dor";
  // DATA_DIR takes any text, so nothing is wrong for it.
  const refusable = SETTING_NAMES.filter((name) => name !== "DATA_DIR");
  fc.assert(
    fc.property(fc.subarray(refusable), fc.string(), (wrong, noise) => {
      // A NUL is part of no setting; what stands around it must not matter.
      const env = Object.fromEntries(
        wrong.map((name) => [name, settingOf(name).secret ? `${secret}\u0000${noise}` : `\u0000${noise}`]),
      );
      env.REDIS_PASSWORD ??= secret;
      const { problems, warnings, config } = loadConfig(env);
      expect(problems.map(({ name }) => name)).toEqual(wrong);
      for (const { line } of problems) expect(line).not.toContain("\n");
      const shown = SETTING_NAMES.map((name) => shownValue(config, name));
      expect(JSON.stringify({ problems, warnings, shown })).not.toContain(secret);
    }),
    { numRuns: 200 },
  );
});
