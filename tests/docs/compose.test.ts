/** docs/compose.yaml is whole, says nothing that the program does not know, and what it starts works. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inheritedEnv, PROJECT_DIR } from "../../scripts/app-process.ts";
import { SETTING_NAMES } from "../../src/config.ts";
import { loadConfig } from "../config/load.ts";
import { composeFile } from "./compose-file.ts";
import { commandsOf, shell } from "./page.ts";

const RUN_MS = 170_000;
const SECRETS = ["REDIS_PASSWORD", "REDIS_SENTINEL_PASSWORD", "ADMIN_API_KEY", "SECRETS_KEY"] as const;

let dir = "";
/** What the printed command writes into `.env`. */
let written: Record<string, string> = {};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-compose-"));
  const [command = ""] = commandsOf("docs/install.md").filter((text) => text.includes(" >.env"));
  await shell(command, { cwd: dir });
  const lines = readFileSync(join(dir, ".env"), "utf8").trim().split("\n");
  written = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
});

afterAll(() => rm(dir, { recursive: true, force: true }));

describe("the compose file", () => {
  test("takes the secrets that the printed command makes, and asks for each that it cannot do without", () => {
    expect(Object.keys(written).sort()).toEqual([...SECRETS].sort());
    const { services } = composeFile(written);
    expect(Object.keys(services).sort()).toEqual(
      ["api", "redis-1", "redis-2", "sentinel-1", "sentinel-2", "sentinel-3", "worker"].sort(),
    );
    for (const name of SECRETS.slice(0, 3)) {
      expect(() => composeFile({ ...written, [name]: "" })).toThrow(`${name}: put it into .env`);
    }
  });

  test("gives both roles settings that there are, with values that are allowed and have an effect", () => {
    const { services } = composeFile(written);
    for (const mode of ["api", "worker"] as const) {
      const environment = services[mode]?.environment ?? {};
      expect(
        Object.keys(environment).filter((each) => !SETTING_NAMES.some((known) => known === each)),
      ).toEqual([]);
      const { config, problems, warnings } = loadConfig({ ...environment });
      expect([problems, warnings]).toEqual([[], []]);
      expect(config.MODE).toBe(mode);
    }
  });

  test("names hosts, ports, volumes and services that the file has", () => {
    const { services, volumes } = composeFile(written);
    const { api, worker } = services;
    for (const address of (api?.environment.REDIS_SENTINEL_ADDR ?? "").split(",")) {
      const [host = "", port] = address.split(":");
      expect(Object.keys(services)).toContain(host);
      expect(port).toBe("26379");
    }
    expect(api?.environment.REDIS_SENTINEL_ADDR).toBe(worker?.environment.REDIS_SENTINEL_ADDR);
    expect(api?.ports).toEqual([`127.0.0.1:8080:${loadConfig({ ...api?.environment }).config.PORT}`]);
    const mounted = Object.values(services).flatMap((service) => service.volumes ?? []);
    expect(mounted.map((mount) => mount.split(":")[0]).sort()).toEqual(Object.keys(volumes).sort());
    for (const [name, { depends_on = [], environment }] of Object.entries(services)) {
      for (const other of depends_on) expect(Object.keys(services)).toContain(other);
      if (environment.SELF !== undefined) expect(environment.SELF).toBe(name);
    }
  });

  test("runs the image of this version, unwritable, and gives it longer to end than it takes", () => {
    const { services } = composeFile(written);
    const { version } = JSON.parse(readFileSync(join(PROJECT_DIR, "package.json"), "utf8"));
    for (const service of [services.api, services.worker]) {
      expect(service).toMatchObject({ image: `task-runner:${version}`, read_only: true });
      expect(service?.healthcheck.test).toEqual(["CMD", "/task-runner", "healthcheck"]);
      const { SHUTDOWN_GRACE_SEC, SHUTDOWN_DELAY_SEC } = loadConfig({ ...service?.environment }).config;
      const grace = Number(/^(\d+)s$/.exec(service?.stop_grace_period ?? "")?.[1]);
      expect(grace).toBeGreaterThanOrEqual(SHUTDOWN_GRACE_SEC + SHUTDOWN_DELAY_SEC + 10);
    }
  });
});

/** Why its services cannot be run here as they would be in containers; null where they can. */
function whyNot(): string | null {
  if (process.platform !== "linux") return "namespaces are of Linux";
  if (process.getuid?.() !== 0) return "only root may make a network";
  const missing = ["unshare", "ip", "mount", "redis-server", "redis-sentinel", "redis-cli"].find(
    (command) => Bun.which(command) === null,
  );
  if (missing !== undefined) return `${missing} is not on this machine`;
  const tried = Bun.spawnSync(["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "true"]);
  return tried.exitCode === 0 ? null : "this machine lets nobody make namespaces";
}

const reason = whyNot();

describe.skipIf(reason !== null)(`what it starts${reason === null ? "" : ` (skipped: ${reason})`}`, () => {
  test(
    "is healthy, delivers, survives the end of the primary, and stops in order",
    async () => {
      const argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
      const machine = Bun.spawn(
        [...argv, process.execPath, "--no-env-file", join(PROJECT_DIR, "tests/docs/compose-machine.ts"), dir],
        {
          cwd: PROJECT_DIR,
          env: { ...inheritedEnv(), ...written },
          stdin: "ignore",
          stdout: "pipe",
          stderr: "pipe",
          timeout: RUN_MS - 10_000,
          killSignal: "SIGKILL",
        },
      );
      const [seen, log, status] = await Promise.all([
        new Response(machine.stdout).text(),
        new Response(machine.stderr).text(),
        machine.exited,
      ]);
      if (status !== 0) throw new Error(`it ended with ${status}:\n${log.slice(-8_000)}`);
      expect(JSON.parse(seen)).toEqual({
        adminStatus: 401,
        durability: "replicated",
        states: ["succeeded", "succeeded", "succeeded", "succeeded"],
        primaries: ["redis-1", "redis-2"],
        ended: [0, 0],
        requests: ["/after", "/before", "/steady"],
      });
      for (const name of SECRETS) expect(log).not.toContain(written[name] ?? "");
    },
    RUN_MS,
  );
});
