/** docs/compose.yaml as Compose reads it: its variables put in, one record a service. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT_DIR } from "../../scripts/app-process.ts";

export const COMPOSE_PATH = join(PROJECT_DIR, "docs/compose.yaml");

export interface Service {
  readonly image: string;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly healthcheck: { readonly test: readonly string[] };
  readonly depends_on?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly read_only?: boolean;
  readonly stop_grace_period?: string;
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
}

/** `$$`, `${NAME}`, `${NAME:-default}` and `${NAME:?why}`, the forms that the file uses. */
const VARIABLE = /\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})/g;

/** The file with its variables put in. Throws for one that must be set and is not, as `docker compose` refuses it. */
export function composeFile(variables: Readonly<Record<string, string>>): ComposeFile {
  const parsed: unknown = Bun.YAML.parse(readFileSync(COMPOSE_PATH, "utf8"));
  return filled(parsed, variables) as ComposeFile;
}

function filled(value: unknown, variables: Readonly<Record<string, string>>): unknown {
  if (typeof value === "string") return interpolated(value, variables);
  if (Array.isArray(value)) return value.map((item) => filled(item, variables));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, filled(item, variables)]));
}

function interpolated(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(VARIABLE, (_, dollar?: string, name = "", kind?: string, rest = "") => {
    if (dollar !== undefined) return "$";
    const value = variables[name] ?? "";
    if (value !== "") return value;
    if (kind === "?") throw new Error(`${name}: ${rest}`);
    return kind === "-" ? rest : "";
  });
}
