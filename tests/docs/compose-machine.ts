/**
 * Runs the services of docs/compose.yaml on a machine of its own: started by tests/docs/compose.test.ts in namespaces of
 * its own for network, mounts and processes, where every service has its name, its address and its port as in Compose.
 * What the file says is run as it is written; only the containers around it are missing. Prints what it saw as JSON.
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { appCommand, inheritedEnv } from "../../scripts/app-process.ts";
import { until } from "../support/redis.ts";
import { startTarget } from "../support/target.ts";
import { composeFile, type Service } from "./compose-file.ts";

const HEALTHY_MS = 40_000;
/** Longer than `down-after-milliseconds` and the failover after it. */
const FAILOVER_MS = 40_000;
const [root = ""] = process.argv.slice(2);
const secrets = {
  REDIS_PASSWORD: process.env.REDIS_PASSWORD ?? "",
  REDIS_SENTINEL_PASSWORD: process.env.REDIS_SENTINEL_PASSWORD ?? "",
  ADMIN_API_KEY: process.env.ADMIN_API_KEY ?? "",
  SECRETS_KEY: process.env.SECRETS_KEY ?? "",
};
const { services } = composeFile({ ...secrets, EGRESS_ALLOW_CIDRS: "127.0.0.1" });
const names = Object.keys(services);
const running = new Map<string, ChildProcess>();

/** All of 127.0.0.0/8 is this machine; each service has an address of its own there. */
function addressOf(name: string): string {
  return `127.0.1.${names.indexOf(name) + 1}`;
}

function serviceOf(name: string): Service {
  const service = services[name];
  if (service === undefined) throw new Error(`there is no service ${name}`);
  return service;
}

/** Redis listens on every address of its container: here, on that of its service alone. */
function programsOf(name: string): string {
  const folder = join(root, `${name}-bin`);
  mkdirSync(folder, { recursive: true });
  const program = (file: string, line: string) => {
    writeFileSync(join(folder, file), `#!/bin/sh\n${line}\n`);
    chmodSync(join(folder, file), 0o755);
  };
  for (const file of ["redis-server", "redis-sentinel"]) {
    program(file, `exec ${Bun.which(file)} "$@" --bind ${addressOf(name)}`);
  }
  program("redis-cli", `exec ${Bun.which("redis-cli")} -h ${addressOf(name)} "$@"`);
  return folder;
}

function envOf(name: string): Record<string, string> {
  const { PATH = "", ...inherited } = inheritedEnv();
  return { ...inherited, PATH: `${programsOf(name)}:${PATH}`, ...serviceOf(name).environment };
}

function folderOf(name: string): string {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** The image's own entry point is the program. */
function argvOf({ entrypoint, command = [] }: Service): readonly string[] {
  return [...(entrypoint ?? appCommand()), ...command];
}

function start(name: string): void {
  const [program = "", ...args] = argvOf(serviceOf(name));
  const child = spawn(program, args, { cwd: folderOf(name), env: envOf(name), stdio: ["ignore", 2, 2] });
  running.set(name, child);
}

async function end(name: string, signal: NodeJS.Signals): Promise<number | null> {
  const child = running.get(name);
  if (child === undefined) throw new Error(`${name} does not run`);
  const exited = once(child, "exit");
  child.kill(signal);
  const [status] = (await exited) as [number | null];
  return status;
}

/** The file's own health check. */
function isHealthy(name: string): boolean {
  const [kind, ...test] = serviceOf(name).healthcheck.test;
  const [first = "", ...rest] = test;
  const argv = kind === "CMD-SHELL" ? ["/bin/sh", "-c", first] : [...appCommand(), ...rest];
  const [program = "", ...args] = argv;
  return spawnSync(program, args, { cwd: folderOf(name), env: envOf(name), timeout: 8_000 }).status === 0;
}

async function startHealthy(wanted: readonly string[]): Promise<void> {
  for (const name of wanted) start(name);
  for (const name of wanted) await until(`${name} is healthy`, HEALTHY_MS, async () => isHealthy(name));
}

function primary(): string {
  const args = ["-p", "26379", "sentinel", "get-master-addr-by-name", "mymaster"];
  const { stdout } = spawnSync("redis-cli", args, { env: envOf("sentinel-1") });
  return String(stdout).split("\n")[0] ?? "";
}

/** Sentinels look for replicas every ten seconds. */
function knowsReplica(sentinel: string): boolean {
  const args = ["-p", "26379", "sentinel", "replicas", "mymaster"];
  return String(spawnSync("redis-cli", args, { env: envOf(sentinel) }).stdout).includes("redis-2");
}

const api = "http://127.0.0.1:8080";

/** Hands a task in, again and again under one name until it is taken, as a caller is told to. */
async function accepted(path: string): Promise<{ readonly task_id: string; readonly durability?: string }> {
  return until(`${path} is accepted`, HEALTHY_MS, async () => {
    const answer = await fetch(`${api}/v1/enqueue`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ client_id: "compose", name: path, task: { url: `${target.url}/${path}` } }),
    });
    return answer.ok ? ((await answer.json()) as { task_id: string; durability?: string }) : null;
  });
}

async function stateOf(id: string): Promise<string> {
  const { state } = (await (await fetch(`${api}/v1/tasks/${id}`)).json()) as { state: string };
  return state;
}

async function succeeded(id: string): Promise<string> {
  return until("it is delivered", HEALTHY_MS, async () => {
    const state = await stateOf(id).catch(() => "");
    return state === "succeeded" && state;
  });
}

const hosts = names.map((name) => `${addressOf(name)} ${name}\n`).join("");
writeFileSync(join(root, "hosts"), `127.0.0.1 localhost\n${hosts}`);
for (const command of ["ip link set lo up", `mount --bind ${join(root, "hosts")} /etc/hosts`]) {
  if (spawnSync("/bin/sh", ["-c", command], { stdio: ["ignore", 2, 2] }).status !== 0)
    throw new Error(command);
}

const target = await startTarget();
await startHealthy(["redis-1", "redis-2"]);
const sentinels = ["sentinel-1", "sentinel-2", "sentinel-3"];
await startHealthy(sentinels);
await startHealthy(["api", "worker"]);
const admin = await fetch(`${api}/admin/clients`);
const before = await succeeded((await accepted("before")).task_id);
// The first ones may have been told to come back; one that was taken at once says how safely.
let tries = 0;
const steady = await until("one is accepted at once", HEALTHY_MS, async () => {
  const answer = await accepted(`steady-${tries++}`);
  return answer.durability !== undefined && answer;
});
const meanwhile = await succeeded(steady.task_id);

for (const sentinel of sentinels) {
  await until(`${sentinel} knows the replica`, HEALTHY_MS, async () => knowsReplica(sentinel));
}
const atFirst = primary();
await end(atFirst, "SIGKILL");
await until("another primary", FAILOVER_MS, async () => primary() !== atFirst);
const afterwards = primary();
// As `restart: unless-stopped` does.
start(atFirst);
const after = await succeeded((await accepted("after")).task_id);
const kept = await stateOf(steady.task_id);
const ended = [await end("api", "SIGTERM"), await end("worker", "SIGTERM")];
const requests = [...new Set(target.requests.map(({ path }) => path.replace(/-\d+$/, "")))].sort();
await target.stop();
const seen = {
  adminStatus: admin.status,
  durability: steady.durability,
  states: [before, meanwhile, after, kept],
  primaries: [atFirst, afterwards].sort(),
  ended,
  requests,
};
process.stdout.write(`${JSON.stringify(seen)}\n`);
process.exit(0);
