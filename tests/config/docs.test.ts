/** docs/configuration.md says of the settings what the schema says. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { DOCS_PATH, withSettingsTable } from "../../scripts/config-docs.ts";
import { SETTING_NAMES } from "../../src/config.ts";

test("the table of settings is up to date (else: bun scripts/config-docs.ts)", () => {
  const document = readFileSync(DOCS_PATH, "utf8");
  expect(withSettingsTable(document)).toBe(document);
});

test("a table that misses a setting is found stale", () => {
  const document = readFileSync(DOCS_PATH, "utf8");
  for (const name of SETTING_NAMES) {
    const row = document.split("\n").find((line) => line.startsWith(`| \`${name}\` |`));
    expect(row).toBeDefined();
    const stale = document.replace(`${row}\n`, "");
    expect(withSettingsTable(stale)).not.toBe(stale);
  }
});
