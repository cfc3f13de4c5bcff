/** The chart in cpln/ as Helm renders it: with each Helm of this machine, beside stand-ins for the charts it depends on. */

import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const PROJECT_DIR = join(import.meta.dir, "../..");
export const CHART_DIR = join(PROJECT_DIR, "cpln");
const HELMS_DIR = join(PROJECT_DIR, ".tools/helm");
/** Longer than any rendering takes; one that hangs fails its test. */
const LONGEST_RUN_MS = 30_000;

const run = promisify(execFile);

/** Where the Helms are: those that scripts/test gets, else the one on PATH. Throws when there is none. */
export function helms(): readonly { readonly version: string; readonly path: string }[] {
  const got = existsSync(HELMS_DIR) ? readdirSync(HELMS_DIR) : [];
  const found = got
    .map((version) => ({ version, path: join(HELMS_DIR, version, "helm") }))
    .filter(({ path }) => existsSync(path));
  if (found.length > 0) return found;
  const own = Bun.which("helm");
  if (own === null) throw new Error("helm is not here: scripts/test gets it, or install it yourself");
  return [{ version: "on PATH", path: own }];
}

/** One rendered document; which form its kind has is told by resources.ts. */
export type Resource = Readonly<Record<string, unknown>> & { readonly kind: string; readonly name: string };

/** What the chart touches of the values of Redis' chart. */
export interface RedisPart {
  readonly replicas: number;
  readonly auth: {
    readonly fromSecret: { readonly enabled: boolean; readonly name: string; readonly passwordKey: string };
  };
  readonly persistence: { readonly enabled: boolean };
}

/** What a rendering came to. */
export interface Rendered {
  readonly status: number;
  /** Of the chart itself; empty when it failed. */
  readonly resources: readonly Resource[];
  /** The values that Redis' chart saw, by part. */
  readonly seenByRedis: Readonly<Record<string, RedisPart>>;
  readonly stdout: string;
  readonly stderr: string;
}

export type Values = Readonly<Record<string, unknown>>;

export interface PreparedChart {
  readonly dir: string;
  /** Renders with `helm template`, the same only once; `gvc` null leaves it out. */
  render(helm: string, values?: Values, at?: { release?: string; gvc?: string | null }): Promise<Rendered>;
  /** Renders with `cpln helm template`, by that Helm. */
  renderWithCli(helm: string, values?: Values): Promise<Rendered>;
  remove(): Promise<void>;
}

export const RELEASE = "prod";
export const GVC = "apps";

/** Copies the chart to where its dependencies can lie beside it. */
export async function prepareChart(): Promise<PreparedChart> {
  const root = await mkdtemp(join(tmpdir(), "task-runner-chart-"));
  const dir = join(root, "cpln-task-runner");
  await cp(CHART_DIR, dir, { recursive: true });
  await cp(join(import.meta.dir, "charts"), join(dir, "charts"), { recursive: true });
  let written = 0;
  const valuesFile = async (values: Values) => {
    const path = join(root, `values-${written++}.json`);
    await writeFile(path, JSON.stringify(values));
    return path;
  };
  const renderOnce = async (helm: string, values: Values, release: string, gvc: string | null) => {
    const place = gvc === null ? {} : { global: { cpln: { gvc } } };
    const file = await valuesFile({ ...values, ...place });
    return rendered(helm, ["template", release, dir, "-f", file], homeEnv(root));
  };
  const renderings = new Map<string, Promise<Rendered>>();
  return {
    dir,
    render: (helm, values = {}, { release = RELEASE, gvc = GVC } = {}) => {
      const key = JSON.stringify([helm, values, release, gvc]);
      const rendering = renderings.get(key) ?? renderOnce(helm, values, release, gvc);
      renderings.set(key, rendering);
      return rendering;
    },
    renderWithCli: async (helm, values = {}) => {
      const file = await valuesFile(values);
      const cli = join(PROJECT_DIR, "node_modules/@controlplane/cli/dist/src/cpln.js");
      // It calls whatever helm is first on PATH, and keeps profiles in the home directory.
      const bin = join(root, "bin");
      await mkdir(bin, { recursive: true });
      await rm(join(bin, "helm"), { force: true });
      await symlink(helm, join(bin, "helm"));
      const env = { ...homeEnv(root), PATH: `${bin}:${process.env.PATH ?? ""}` };
      const login = ["--org", "acme", "--gvc", GVC, "--token", "dummy"];
      return rendered("node", [cli, "helm", "template", RELEASE, dir, "-f", file, ...login], env);
    },
    remove: () => rm(root, { recursive: true, force: true }),
  };
}

/** How the stand-in for Redis' chart ends the names of what it shows. */
const SEEN = "-seen";

function homeEnv(root: string): Record<string, string> {
  return { HOME: root, PATH: process.env.PATH ?? "" };
}

async function rendered(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<Rendered> {
  try {
    const { stdout, stderr } = await run(program, [...args], { env, timeout: LONGEST_RUN_MS });
    const all = resourcesIn(stdout);
    const seen = all.filter(({ name }) => name.endsWith(SEEN));
    return {
      status: 0,
      resources: all.filter((each) => !seen.includes(each)),
      seenByRedis: Object.fromEntries(
        seen.map(({ name, data }) => [
          name.slice(name.lastIndexOf("-", name.length - SEEN.length - 1) + 1, -SEEN.length),
          JSON.parse((data as { payload: string }).payload) as RedisPart,
        ]),
      ),
      stdout,
      stderr,
    };
  } catch (thrown) {
    const failed = thrown as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof failed.code !== "number") throw thrown;
    const { stdout = "", stderr = "" } = failed;
    return { status: failed.code, resources: [], seenByRedis: {}, stdout, stderr };
  }
}

function resourcesIn(text: string): Resource[] {
  return text
    .split(/^---.*$/m)
    .map((part) => Bun.YAML.parse(part) as Resource | null)
    .filter((part) => part !== null && part !== undefined);
}

/** The one resource of a kind whose name ends so. Throws when there is not exactly one. */
export function only(resources: readonly Resource[], kind: string, ending = ""): Resource {
  const found = resources.filter((each) => each.kind === kind && each.name.endsWith(ending));
  const [one] = found;
  if (one === undefined || found.length > 1)
    throw new Error(`${found.length} of kind ${kind} end with "${ending}"`);
  return one;
}
