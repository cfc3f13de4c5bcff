/** Draws a bench result as docs/benchmarks.svg: how our rates stand beside BullMQ's and the machine's limit. */

import { readFileSync } from "node:fs";
import type { BenchResult, ScenarioResult } from "./result.ts";

interface Bar {
  readonly label: string;
  readonly ratio: number;
  /** Which of our stores, for its colour. */
  readonly store: string;
}

const STORES = ["Redis store", "embedded store"] as const;
const WIDTH = 760;
const LABEL_WIDTH = 300;
const BAR_WIDTH = 380;
const ROW_HEIGHT = 22;
const HEAD_HEIGHT = 34;
const TOP = 44;

/** Colours that stand out from white and from black; the words follow the reader's own scheme. */
const STYLE = `
    text { font: 12px system-ui, sans-serif; fill: #1f2328; }
    .title { font-size: 15px; font-weight: 600; }
    .head { font-weight: 600; }
    .one { stroke: #1f2328; stroke-dasharray: 3 3; }
    .redis { fill: #2f81f7; }
    .embedded { fill: #d08a1d; }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .one { stroke: #e6edf3; } }
  `;

/** The drawing. Only rates are drawn, which are better the longer their bar; the page has all figures. */
export function chart(result: BenchResult): string {
  const parts: string[] = [];
  let y = TOP;
  for (const [reference, title] of [
    ["BullMQ", "times BullMQ's rate"],
    ["limit", "of what the machine does without a queue"],
  ] as const) {
    const bars = result.scenarios.flatMap((scenario) => barsOf(scenario, reference));
    if (bars.length === 0) continue;
    parts.push(`<text class="head" x="10" y="${y + 20}">${escaped(title)}</text>`);
    y += HEAD_HEIGHT;
    const longest = Math.max(1, ...bars.map(({ ratio }) => ratio));
    const xOf = (ratio: number) => LABEL_WIDTH + (BAR_WIDTH * ratio) / longest;
    const end = y + bars.length * ROW_HEIGHT;
    for (const { label, ratio, store } of bars) {
      const width = xOf(ratio) - LABEL_WIDTH;
      const kind = store === STORES[0] ? "redis" : "embedded";
      parts.push(
        `<text x="${LABEL_WIDTH - 8}" y="${y + 14}" text-anchor="end">${escaped(label)}</text>`,
        `<rect class="${kind}" x="${LABEL_WIDTH}" y="${y + 3}" width="${width.toFixed(1)}" height="${ROW_HEIGHT - 6}" rx="2"/>`,
        `<text x="${(LABEL_WIDTH + width + 6).toFixed(1)}" y="${y + 14}">${ratio.toFixed(2)} ×</text>`,
      );
      y += ROW_HEIGHT;
    }
    const one = xOf(1).toFixed(1);
    parts.push(
      `<line class="one" x1="${one}" y1="${y - bars.length * ROW_HEIGHT}" x2="${one}" y2="${end}"/>`,
    );
    y += 10;
  }
  const height = y + 10;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `  <title>Task Runner's rates beside BullMQ's and the machine's limit</title>`,
    `  <style>${STYLE}</style>`,
    `  <text class="title" x="10" y="24">Rates on ${result.machine.cores} cores, ${result.startedAt.slice(0, 10)}</text>`,
    ...legend(),
    ...parts.map((part) => `  ${part}`),
    "</svg>",
    "",
  ].join("\n");
}

function legend(): readonly string[] {
  return STORES.flatMap((store, i) => {
    const x = LABEL_WIDTH + i * 140;
    const kind = i === 0 ? "redis" : "embedded";
    return [
      `  <rect class="${kind}" x="${x}" y="14" width="12" height="12" rx="2"/>`,
      `  <text x="${x + 18}" y="24">${store}</text>`,
    ];
  });
}

function barsOf(scenario: ScenarioResult, reference: string): readonly Bar[] {
  return STORES.flatMap((store) => {
    const found = scenario.contestants.find(({ name }) => name === store);
    const ratio = found?.summaries.rate?.ratios[reference];
    return ratio === undefined ? [] : [{ label: scenario.title, ratio, store }];
  });
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

if (import.meta.main) {
  const path = process.argv[2];
  if (path === undefined) {
    console.error("usage: bun bench/chart.ts RESULT.json > docs/benchmarks.svg");
    process.exitCode = 2;
  } else process.stdout.write(chart(JSON.parse(readFileSync(path, "utf8")) as BenchResult));
}
