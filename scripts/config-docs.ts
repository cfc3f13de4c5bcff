/** Writes the table of settings in docs/configuration.md from the schema; with --check only tells whether it is stale. */

import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { SETTING_NAMES, settingOf } from "../src/config.ts";

export const DOCS_PATH = new URL("../docs/configuration.md", import.meta.url);

const BEGIN = "<!-- settings: begin (written by scripts/config-docs.ts) -->";
const END = "<!-- settings: end -->";

/** The document with the table as the schema has it. Throws when the document lost the table's place. */
export function withSettingsTable(document: string): string {
  const begin = document.indexOf(BEGIN);
  const end = document.indexOf(END);
  if (begin === -1 || end < begin) throw new Error(`docs/configuration.md must hold "${BEGIN}" and "${END}"`);
  return `${document.slice(0, begin + BEGIN.length)}\n\n${settingsTable()}\n\n${document.slice(end)}`;
}

function settingsTable(): string {
  const rows = SETTING_NAMES.map((name) => {
    const { role, defaultText, unit, allowed, description, secret } = settingOf(name);
    const more = secret ? ` (secret; also \`${name}_FILE\`)` : "";
    const cells = [`\`${name}\``, role, defaultText, unit ?? "", `${description}${more}`, allowed];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return [
    "| name | role | default | unit | meaning | allowed |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

if (import.meta.main) {
  const document = readFileSync(DOCS_PATH, "utf8");
  const wanted = withSettingsTable(document);
  if (process.argv.includes("--check")) {
    if (document !== wanted) {
      process.stderr.write("docs/configuration.md is stale: run `bun scripts/config-docs.ts`\n");
      process.exitCode = 1;
    }
  } else {
    writeFileSync(DOCS_PATH, wanted);
  }
}
