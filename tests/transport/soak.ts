/**
 * Delivers to targets of every bad kind, many at once, and watches what it costs: memory and open files stay flat, and
 * a body without end takes less than a mebibyte. Linux only, for it reads /proc.
 *
 *     bun tests/transport/soak.ts [--deliveries 200000]
 *     deno run -A --v8-flags=--expose-gc,--max-semi-space-size=1 tests/transport/soak.ts [--deliveries 200000]
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
/** Counted in deliveries, as the warming up is, so that a slow machine is asked for no less than a fast one. */
const SAMPLE_EVERY = 50;
const MAX_GROWTH_MIB = 24;
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

const countAt = process.argv.indexOf("--deliveries");
const deliveries = countAt === -1 ? 200_000 : Number(process.argv[countAt + 1]);

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

/** What a runtime leaves lying until it collects says nothing of what is kept. */
function collect(): void {
  const gc = typeof Bun === "undefined" ? (globalThis as { gc?: () => void }).gc : () => Bun.gc(true);
  if (gc === undefined) throw new Error("run it with --v8-flags=--expose-gc");
  gc();
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
  const rss: number[] = [];
  const files: number[] = [];
  let next = 0;
  const one = async () => {
    while (next < deliveries) {
      if (next % SAMPLE_EVERY === 0) {
        collect();
        rss.push(statusMib("VmRSS"));
        files.push(openFiles());
      }
      const path = PATHS[next++ % PATHS.length] ?? "ok";
      await deliver(transport, path, path === "ok" ? 10_000 : 200);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  // The first third is warming up: a runtime goes on compiling, and makes its heap larger, for a thousand deliveries.
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
