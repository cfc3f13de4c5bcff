/** The container image: what is in it, and both roles run from it, read-only and as its user. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AppProcess, PROJECT_DIR } from "../../scripts/app-process.ts";
import { commitHere } from "../../scripts/build.ts";
import { VERSION } from "../../src/version.ts";
import { freePorts } from "../support/redis/ports.ts";
import { startRedis } from "../support/redis.ts";
import { certificateFor } from "../transport/certificate.ts";
import { Image, innerPid, ran, whyNoContainers } from "./container.ts";

const BUILD_MS = 60_000;
const DEADLINE_MS = 15_000;
const LOOK_EVERY_MS = 20;
const PASSWORD = "a-password";

const whyNot = whyNoContainers();
if (whyNot !== null) console.log(`the image is not tested here: no containers can be run, for ${whyNot}`);

const dir = mkdtempSync(join(tmpdir(), "task-runner-container-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A target that tells what it was called with. */
function target(options: { readonly key?: string; readonly cert?: string } = {}) {
  const called = Promise.withResolvers<string>();
  const tls = options.key === undefined ? {} : { tls: options };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    ...tls,
    fetch: async (request) => {
      called.resolve(await request.text());
      return new Response("thanks");
    },
  });
  closing.push(() => server.stop(true));
  // By name, for an image without any of the machine's files must still resolve names.
  return { url: `${server.protocol}://localhost:${server.port}/hook`, called: called.promise };
}

async function enqueue(app: AppProcess, url: string, body: string): Promise<string> {
  const answer = await fetch(`${app.url}/v1/enqueue`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ client_id: "image", task: { url, body } }),
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  expect(answer.status).toBe(202);
  return ((await answer.json()) as { task_id: string }).task_id;
}

/** The task's state once it has ended, or the state that it stays in. */
async function endOf(app: AppProcess, id: string): Promise<string> {
  let state = "unknown";
  for (const endMs = Date.now() + DEADLINE_MS; Date.now() < endMs; await Bun.sleep(LOOK_EVERY_MS)) {
    const answer = await fetch(`${app.url}/v1/tasks/${id}`, { signal: AbortSignal.timeout(DEADLINE_MS) });
    ({ state } = (await answer.json()) as { state: string });
    if (state === "succeeded" || state === "dead") break;
  }
  return state;
}

describe.skipIf(whyNot !== null)("the image", () => {
  let image: Image;
  let commit = "";
  beforeAll(async () => {
    const archive = join(dir, "image.tar");
    commit = await commitHere();
    const built = await ran([join(PROJECT_DIR, "scripts/image"), "--archive", archive], BUILD_MS);
    if (built.status !== 0) throw new Error(`scripts/image: ${built.stderr}`);
    expect(built.stdout).toStartWith(`${archive}: task-runner:${VERSION}, commit ${commit}, `);
    image = await Image.of(archive, join(dir, "image"));
  }, BUILD_MS);

  async function start(options: Parameters<Image["start"]>[0]): Promise<AppProcess> {
    const app = await image.start(options);
    let over = false;
    app.exited.then(() => {
      over = true;
    });
    closing.push(async () => {
      if (!over) process.kill(app.pid, "SIGKILL");
      await app.exited;
    });
    return app;
  }

  test("holds the program, its loader and libraries, certificates and names, and nothing else", () => {
    const files = image.entries.filter((entry) => !entry.includes("/ d"));
    const libraries = files.filter((entry) => /^lib/.test(entry));
    expect(libraries.map((entry) => entry.replace(/^.*\/([a-z]+).*$/, "$1")).sort()).toEqual([
      "ld",
      "libc",
      "libdl",
      "libm",
      "libpthread",
    ]);
    expect(files.filter((entry) => !libraries.includes(entry))).toEqual([
      "etc/group -rw-r--r-- 0/0",
      "etc/nsswitch.conf -rw-r--r-- 0/0",
      "etc/passwd -rw-r--r-- 0/0",
      "etc/ssl/certs/ca-certificates.crt -rw-r--r-- 0/0",
      "task-runner -rwxr-xr-x 0/0",
    ]);
    // Its user may write to these two, where something writable is mounted.
    const writable = image.entries.filter((entry) => !/ [-d]r[w-][x-]r-[x-]r-[x-] 0\/0$/.test(entry));
    expect(writable).toEqual(["data/ drwxr-xr-x 65532/65532", "tmp/ drwxrwxrwt 0/0"]);
  });

  test("says how it is to be run and what it was built from", () => {
    const { config } = image;
    expect(config).toMatchObject({
      User: "65532:65532",
      WorkingDir: "/data",
      Entrypoint: ["/task-runner"],
      ExposedPorts: { "8080/tcp": {}, "8082/tcp": {} },
      Volumes: { "/data": {} },
      Healthcheck: { Test: ["CMD", "/task-runner", "healthcheck"] },
    });
    expect(config.Cmd ?? []).toEqual([]);
    expect(config.StopSignal ?? "SIGTERM").toBe("SIGTERM");
    expect(config.Env).toContain("DATA_DIR=/data");
    expect(config.Labels).toMatchObject({
      "org.opencontainers.image.title": "Task Runner",
      "org.opencontainers.image.description": "A self-hosted HTTP task queue and scheduler",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.version": VERSION,
      "org.opencontainers.image.revision": commit,
      "org.opencontainers.image.created": expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    });
  });

  test("has no shell", async () => {
    for (const shell of ["/bin/sh", "sh", "/bin/bash"]) {
      const { status, stderr } = await image.ran([shell, "-c", "exit 0"]);
      expect({ status, stderr }).toEqual({
        status: 127,
        stderr: `unshare: failed to execute ${shell}: No such file or directory\n`,
      });
    }
    // By its name too, as the chart's hook calls it: one that is not found would kill the replica at once.
    for (const program of ["/task-runner", "task-runner"]) {
      const { status, stdout } = await image.ran([program, "version", "--json"]);
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toEqual({ version: VERSION, commit, runtime: `bun ${Bun.version}` });
    }
  });

  test("runs both roles against Redis, nothing writable, and each tells its health", async () => {
    const redis = await startRedis({ password: PASSWORD });
    closing.push(() => redis.stop());
    const [apiPort = 0, workerPort = 0] = await freePorts(2);
    const shared = { HOST: "127.0.0.1", REDIS_ADDR: `localhost:${redis.port}`, REDIS_PASSWORD: PASSWORD };
    const api = { env: { ...shared, MODE: "api", PORT: String(apiPort) } };
    const worker = {
      env: { ...shared, MODE: "worker", PORT: String(workerPort), ALLOW_PRIVATE_URLS: "true" },
    };
    expect(await image.checkHealth(api)).toMatchObject({ status: 1 });

    const serving = await start(api);
    const working = await start(worker);
    const { url, called } = target();
    const id = await enqueue(serving, url, "hello");
    expect(await called).toBe("hello");
    expect(await endOf(serving, id)).toBe("succeeded");

    for (const role of [api, worker]) {
      expect(await image.checkHealth(role)).toEqual({ status: 0, stdout: "ready\n", stderr: "" });
    }
    for (const { pid } of [serving, working]) {
      const status = readFileSync(`/proc/${innerPid(pid)}/status`, "utf8");
      expect(status).toMatch(/^Uid:(?:\t65532){4}$/m);
      expect(status).toMatch(/^Gid:(?:\t65532){4}$/m);
      expect(status).toMatch(/^Groups:\s*$/m);
      expect(status).toMatch(/^CapEff:\t0{16}$/m);
      // Signals to process 1 do nothing unless it listens to them.
      expect(status).toMatch(/^NSpid:(?:\t\d+)+\t1$/m);
    }
    // What a container runtime does to stop it, and an end that is not an error.
    expect(await working.stop()).toBe(0);
    expect(await serving.stop()).toBe(0);
    expect(await image.checkHealth(worker)).toMatchObject({ status: 1 });
  }, 40_000);

  test("keeps the embedded store in its volume, through a restart, and trusts an authority of one's own", async () => {
    const volume = image.newVolume(join(dir, "volume"));
    const authority = certificateFor(dir, "own", "DNS:localhost");
    writeFileSync(join(volume, "own.pem"), authority.cert);
    const [port = 0] = await freePorts(1);
    const env = {
      ...{ HOST: "127.0.0.1", PORT: String(port), ALLOW_PRIVATE_URLS: "true" },
      NODE_EXTRA_CA_CERTS: "/data/own.pem",
    };
    const all = { args: ["all"], env, volume };
    const first = await start(all);
    const { url, called } = target(authority);
    const id = await enqueue(first, url, "kept");
    expect(await called).toBe("kept");
    expect(await endOf(first, id)).toBe("succeeded");
    expect(await first.stop()).toBe(0);

    const second = await start(all);
    expect(await endOf(second, id)).toBe("succeeded");
    expect(await second.stop()).toBe(0);
  }, 40_000);

  test("without a volume that can be written, the embedded store is refused in one line", async () => {
    const { status, stderr } = await image.ran(["/task-runner", "all"], {
      env: { HOST: "127.0.0.1", PORT: "0" },
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: .*\/data.*\n$/);
  });
});

test("the Containerfile names the versions that the project has", () => {
  const text = readFileSync(join(PROJECT_DIR, "Containerfile"), "utf8");
  const bun = readFileSync(join(PROJECT_DIR, ".bun-version"), "utf8").trim();
  expect(text).toMatch(new RegExp(`^ARG BASE=\\S+/bun:${RegExp.escape(bun)}$`, "m"));
  expect(text).toMatch(new RegExp(`^ARG VERSION=${RegExp.escape(VERSION)}$`, "m"));
});

test("scripts/image refuses arguments it does not know, and tells those it does", async () => {
  const script = join(PROJECT_DIR, "scripts/image");
  for (const args of [["--pull"], ["--archive"]]) {
    const { status, stderr } = await ran([script, ...args]);
    expect(status).toBe(2);
    expect(stderr).toContain("usage: scripts/image [--tag NAME[:TAG]] [--archive FILE]");
  }
});
