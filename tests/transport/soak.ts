/**
 * Delivers to targets of every bad kind, many at once, and watches what it costs: memory and open files stay flat, and
 * a body without end takes less than a mebibyte. Linux only, for it reads /proc.
 *
 *     bun tests/transport/soak.ts [--sec 600]        deno run -A tests/transport/soak.ts [--sec 600]
 *
 * Prints one line of JSON, and ends with status 1 where a bound is broken.
 */

import { spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Transport } from "../../src/core/transport.ts";
import { httpTransport } from "./fixtures.ts";

const AT_ONCE = 64;
const SAMPLE_MS = 1_000;
const MAX_GROWTH_MIB = 32;
const MAX_ENDLESS_MIB = 1;
/** Half of them good, so that connections are kept and taken again in between. */
const PATHS = [
  "endless",
  "ok",
  "headers",
  "ok",
  "provisional",
  "ok",
  "drip",
  "ok",
  "reset",
  "half",
  "ok",
  "garbage",
  "silent",
  "ok",
];

const secondsAt = process.argv.indexOf("--sec");
const forMs = (secondsAt === -1 ? 600 : Number(process.argv[secondsAt + 1])) * 1_000;

const script = fileURLToPath(new URL("hostile-target.ts", import.meta.url));
const flags = process.execPath.endsWith("deno") ? ["run", "-A", "--no-lock"] : [];
const target = spawn(process.execPath, [...flags, script], { stdio: ["pipe", "pipe", "inherit"] });
const port = await new Promise<string>((printed) => {
  target.stdout.once("data", (line: Uint8Array) => printed(new TextDecoder().decode(line).trim()));
});

let delivered = 0;
async function deliver(transport: Transport, path: string, timeoutMs: number): Promise<void> {
  const url = `http://127.0.0.1:${port}/${path}`;
  const outcome = await transport.deliver(
    {
      taskId: `soak-${delivered++}`,
      queue: "default",
      target: { url, method: "POST", headers: {}, body: "hello" },
      attempt: 1,
      fence: 1,
      scheduledAtMs: 0,
      timeoutMs,
      traceparent: null,
      allowedHosts: null,
      signingSecrets: [],
    },
    new AbortController().signal,
  );
  if (path === "ok" && outcome.kind !== "delivered")
    throw new Error(`a good target failed: ${JSON.stringify(outcome)}`);
}

function statusMib(name: "VmRSS" | "VmHWM"): number {
  const found = new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync("/proc/self/status", "utf8"));
  return Number(found?.[1]) / 1_024;
}

const openFiles = () => readdirSync("/proc/self/fd").length;
const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const rounded = (value: number) => Math.round(value * 100) / 100;

/** What each of many endless bodies at once adds to the most that was ever held. */
async function endlessMib(transport: Transport): Promise<number> {
  const round = (path: string) =>
    Promise.all(Array.from({ length: AT_ONCE }, () => deliver(transport, path, 10_000)));
  for (let i = 0; i < 5; i++) await round("ok");
  const beforeMib = statusMib("VmRSS");
  // Begins the high-water mark anew (proc(5)).
  writeFileSync("/proc/self/clear_refs", "5");
  await round("endless");
  return Math.max(statusMib("VmHWM") - beforeMib, 0) / AT_ONCE;
}

async function mixed(transport: Transport) {
  const endsAt = performance.now() + forMs;
  const rss: number[] = [];
  const files: number[] = [];
  const sampling = setInterval(() => {
    rss.push(statusMib("VmRSS"));
    files.push(openFiles());
  }, SAMPLE_MS);
  let next = 0;
  const one = async () => {
    while (performance.now() < endsAt) {
      const path = PATHS[next++ % PATHS.length] ?? "ok";
      await deliver(transport, path, path === "ok" ? 10_000 : 200);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  clearInterval(sampling);
  // The first third is warming up.
  const third = Math.floor(rss.length / 3);
  const middle = rss.slice(third, 2 * third);
  const last = rss.slice(-third);
  return {
    growthMib: rounded(median(last) - median(middle)),
    rssMib: rounded(median(last)),
    openFiles: median(files.slice(-third)),
    mostOpenFiles: Math.max(...files),
  };
}

const transport = httpTransport();
const filesBefore = openFiles();
const perEndlessMib = rounded(await endlessMib(transport));
const result = { perEndlessMib, ...(await mixed(transport)), delivered, filesBefore };
await transport.close();
target.stdin.end();
console.log(JSON.stringify(result));
const isFlat = result.growthMib < MAX_GROWTH_MIB && result.mostOpenFiles < filesBefore + 4 * AT_ONCE;
process.exitCode = perEndlessMib < MAX_ENDLESS_MIB && isFlat ? 0 : 1;
