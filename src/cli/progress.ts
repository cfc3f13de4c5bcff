/** Showing how far long work is. */

import type { CliHost } from "./host.ts";

export interface ProgressLine {
  show(text: string): void;
  clear(): void;
}

/** A line on stderr that is written over, on a terminal; nothing elsewhere. */
export function progressLine({ stderr }: CliHost): ProgressLine {
  const write = (text: string) => {
    // Back to the start of the line and clear to its end (ECMA-48 EL).
    if (stderr.isTTY) stderr.write(`\r\u001b[K${text}`);
  };
  return { show: write, clear: () => write("") };
}
