/** Starting must be quick once everything is there, must not widen what the caller has set, and must fail in one line. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROJECT_DIR, startListening } from "../../scripts/app-process.ts";

const LIMIT_MS = 20_000;
/** What the scripts need of a system before any tool of ours is there. */
const SYSTEM_TOOLS = ["bash", "cat", "cmp", "dirname", "head", "ln", "mkdir", "rm", "sed", "uname"];

let dir = "";

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "task-runner-test-"));
});

afterAll(async () => {
  await rm(dir, { recursive: true, force: true });
});

/** A checkout with nothing installed, on a machine that has only the commands in `programs` beside the system's. */
async function bareCheckout(name: string, programs: Readonly<Record<string, string>>) {
  const root = join(dir, name);
  const bin = join(root, "bin");
  await mkdir(bin, { recursive: true });
  await cp(join(PROJECT_DIR, "scripts"), join(root, "scripts"), { recursive: true });
  for (const file of ["package.json", "bun.lock", ".bun-version"])
    await cp(join(PROJECT_DIR, file), join(root, file));
  for (const tool of SYSTEM_TOOLS) await symlink(Bun.which(tool) ?? tool, join(bin, tool));
  for (const [program, script] of Object.entries(programs)) {
    await writeFile(join(bin, program), `#!${Bun.which("bash")}\n${script}\n`, { mode: 0o755 });
  }
  return (env: Readonly<Record<string, string>> = {}, args: readonly string[] = []) => {
    const run = Bun.spawnSync([join(bin, "bash"), join(root, "scripts", "start"), ...args], {
      env: { PATH: bin, ...env },
      stdin: "ignore",
      timeout: LIMIT_MS,
    });
    return { status: run.exitCode, stdout: run.stdout.toString(), stderr: run.stderr.toString(), root };
  };
}

/** A bun that says its version, installs nothing, and tells how it was started. */
function bunOfVersion(version: string): string {
  return `case $1 in
--version) echo ${version} ;;
install) mkdir -p node_modules; echo "$@" >>installs ;;
*) echo "args $*"; echo "private \${ALLOW_PRIVATE_URLS:-unset} host \${HOST:-unset}" ;;
esac`;
}

const VERSION = (await readFile(join(PROJECT_DIR, ".bun-version"), "utf8")).trim();

describe("scripts/start", () => {
  test("says in one line what is missing when there is neither Bun nor npm", async () => {
    const { status, stderr } = (await bareCheckout("no-npm", {}))();
    expect(status).toBe(1);
    expect(stderr).toBe(
      `start: Bun ${VERSION} is not here and npm is not either: install Node.js 20 or newer with npm, or Bun ${VERSION} itself\n`,
    );
  });

  test("says that the network may be missing when npm cannot get Bun", async () => {
    const npm = 'echo "npm error code ENOTFOUND" >&2; echo "npm error network trouble" >&2; exit 1';
    const { status, stderr } = (await bareCheckout("no-network", { npm }))();
    expect(status).toBe(1);
    expect(stderr.trim().split("\n").at(-1)).toBe(
      `start: npm could not get Bun ${VERSION} (ENOTFOUND): is there a network?`,
    );
  });

  test("says which machine there is no Bun for", async () => {
    const { status, stderr } = (await bareCheckout("wrong-arch", { npm: "exit 0" }))();
    expect(status).toBe(1);
    expect(stderr.trim().split("\n").at(-1)).toStartWith(
      `start: Bun ${VERSION} has no build that runs on this machine (`,
    );
  });

  test("gets the right Bun where another version is installed, and uses it", async () => {
    // As npm leaves it when it runs no install scripts: the binary only in the platform's own package.
    const binary = ".tools/node_modules/@oven/bun-some-platform/bin/bun";
    const npm = `case "$*" in *bun@${VERSION}*) ;; *) exit 1 ;; esac
mkdir -p ${binary.replace(/\/bun$/, "")}
cat >${binary} <<'END'
#!${Bun.which("bash")}
${bunOfVersion(VERSION)}
END
${Bun.which("chmod")} +x ${binary}`;
    const start = await bareCheckout("other-version", { npm, bun: bunOfVersion("0.0.1") });
    const first = start();
    expect(first.stderr).toContain(`getting Bun ${VERSION}`);
    expect(first.stdout).toContain("args src/main.ts all");
    // Neither is fetched nor installed a second time.
    const second = start();
    expect(second.stdout).toContain("args src/main.ts all");
    expect(second.stderr).not.toContain("getting Bun");
    expect(await readFile(join(second.root, "installs"), "utf8")).toBe("install --frozen-lockfile\n");
  });

  test("installs again when the lockfile has changed", async () => {
    const start = await bareCheckout("changed-lockfile", { bun: bunOfVersion(VERSION) });
    const { root } = start();
    await writeFile(join(root, "bun.lock"), "changed");
    start();
    expect((await readFile(join(root, "installs"), "utf8")).trim().split("\n")).toHaveLength(2);
  });

  test("allows private targets only together with listening on this machine alone", async () => {
    const start = await bareCheckout("safe", { bun: bunOfVersion(VERSION) });
    expect(start().stdout).toContain("private true host 127.0.0.1");
    expect(start({ HOST: "0.0.0.0" }).stdout).toContain("private unset host 0.0.0.0");
    expect(start({ ALLOW_PRIVATE_URLS: "false" }).stdout).toContain("private false host unset");
    expect(start({}, ["--host", "0.0.0.0"]).stdout).toContain("private unset host unset");
    expect(start({}, ["--env-file=prod.env"]).stdout).toContain("private unset host unset");
  });

  test("passes its arguments on", async () => {
    const start = await bareCheckout("arguments", { bun: bunOfVersion(VERSION) });
    expect(start({}, ["--port", "9000", "--store", "sqlite:a b.db"]).stdout).toContain(
      "args src/main.ts all --port 9000 --store sqlite:a b.db",
    );
  });

  test(
    "is listening within two seconds when everything is there",
    async () => {
      const dataDir = join(dir, "data");
      const start = () => startListening(["scripts/start", "--port", "0"], { DATA_DIR: dataDir });
      await (await start()).stop();
      const startMs = performance.now();
      const app = await start();
      const tookMs = performance.now() - startMs;
      expect(await app.stop()).toBe(0);
      expect(tookMs).toBeLessThan(2_000);
    },
    LIMIT_MS,
  );
});
