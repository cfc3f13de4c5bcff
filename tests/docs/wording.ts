/** Finds what a page quotes: every code span is a pattern, in which `…` stands for anything. */

import { pageText } from "./page.ts";

/** Spans of fewer letters than this, `…` and blanks not counted, would fit by chance. */
const LEAST_LETTERS = 8;

/** The code spans of a text, outside of blocks. */
export function spansOf(text: string): readonly string[] {
  const prose = text.replace(/^ *```[\s\S]*?^ *```$/gm, "");
  return [...prose.matchAll(/`([^`]+)`/g)].map(([, span = ""]) => span.replace(/\s+/g, " "));
}

/** Whether one of the spans is this text, or stands for it. */
export function isQuoted(text: string, spans: readonly string[]): boolean {
  const line = text.replace(/\s+/g, " ").trim();
  return spans.some((span) => {
    if (span.replace(/[…\s]/g, "").length < LEAST_LETTERS) return false;
    const parts = span.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`).test(line);
  });
}

/** The spans that a page has where it tells of a code: in the rows of tables that name it, and in sections of that name. */
export function spansAbout(path: string, code: string): readonly string[] {
  const about: string[] = [];
  let within = false;
  for (const line of pageText(path).split("\n")) {
    if (/^#/.test(line)) within = line.includes(code);
    if (within || (line.startsWith("|") && line.includes(`\`${code}\``))) about.push(line);
  }
  return spansOf(about.join("\n"));
}
