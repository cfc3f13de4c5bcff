/** Finds and loads the plugins that PLUGINS names, and tells in one line what is wrong with one that cannot be loaded. */

import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import type { Clock } from "../core/clock.ts";
import { lookingAt, pluginFault, reasonOf } from "./fault.ts";
import { type AnyPlugin, judgePlugin } from "./judge.ts";
import { packageEntry } from "./package.ts";
import { PATIENCE_SEC, withPatience } from "./patience.ts";
import * as contract from "./plugin.ts";

/** What loading needs of the runtime. */
export interface ModuleHost {
  /** Whether the program is one compiled file, in which packages beside a plugin may not be found. */
  readonly isCompiled: boolean;
  /** Lets a plugin import `name` wherever it lies, where the runtime can do that. */
  provide(name: string, exports: object): void;
  /** Runs the module in a file and gives what it exports; rejects with what it threw. */
  load(path: string): Promise<unknown>;
}

export interface LoadOptions {
  readonly modules: ModuleHost;
  readonly clock: Pick<Clock, "after">;
  /** Where relative paths and packages are looked for. */
  readonly folder: string;
}

/** A plugin that was loaded and is one; nothing of it has been asked yet. */
export interface LoadedPlugin {
  /** As it was named, for messages. */
  readonly given: string;
  readonly plugin: AnyPlugin;
}

/** The module that a plugin imports, see plugin.ts. */
export const PLUGIN_MODULE = "task-runner/plugin";
const FILE = /^(?:\.{1,2}(?:[\\/]|$)|[\\/]|[A-Za-z]:[\\/])|\.[cm]?[jt]s$/;

/** Loads them one after another, in the order given. Rejects with the fault of the first that cannot be loaded. */
export async function loadPlugins(
  names: readonly string[],
  options: LoadOptions,
): Promise<readonly LoadedPlugin[]> {
  const loaded: LoadedPlugin[] = [];
  if (names.length > 0) options.modules.provide(PLUGIN_MODULE, contract);
  for (const given of names) {
    const path = FILE.test(given) ? fileOf(given, options) : packageOf(given, options);
    const module = await moduleAt(given, path, options);
    const plugin = lookingAt(given, () => judgePlugin(given, module));
    const before = loaded.find((other) => other.plugin.name === plugin.name);
    if (before !== undefined) {
      throw pluginFault(
        `plugin ${given} is named "${plugin.name}", as plugin ${before.given} is: load one of them`,
      );
    }
    loaded.push({ given, plugin });
  }
  return loaded;
}

function fileOf(given: string, { folder }: LoadOptions): string {
  const path = resolve(folder, given);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw pluginFault(`plugin ${given} is not there: looked for the file ${path}`);
  if (!found.isFile()) throw pluginFault(`plugin ${given} is not a file: name the module in ${path}`);
  return path;
}

function packageOf(given: string, { folder }: LoadOptions): string {
  const path = packageEntry(given, folder);
  if (path === null) {
    throw pluginFault(
      `plugin ${given} is not there: no package of that name is installed in ${folder}; write ./${given} for a file`,
    );
  }
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    throw pluginFault(`plugin ${given} is not there: its package names the file ${path}`);
  }
  return path;
}

function moduleAt(given: string, path: string, { modules, clock }: LoadOptions): Promise<unknown> {
  const loading = modules.load(path).catch((error: unknown) => {
    throw lookingAt(given, () => pluginFault(loadFault(given, path, error, modules.isCompiled), error));
  });
  return withPatience(clock, loading, () =>
    pluginFault(`plugin ${given} did not finish loading within ${PATIENCE_SEC} s`),
  );
}

/** The parts of a runtime's error that tell why a module did not load; which of them are there depends on the runtime. */
interface LoadError {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly specifier?: unknown;
  readonly referrer?: unknown;
  readonly position?: { readonly file?: unknown; readonly line?: unknown; readonly column?: unknown } | null;
  readonly errors?: unknown;
}

function loadFault(given: string, path: string, thrown: unknown, isCompiled: boolean): string {
  const { name, code, specifier, referrer, position, errors } = (thrown ?? {}) as LoadError;
  // Of several slips of syntax the first is told; the others may follow from it.
  if (Array.isArray(errors) && errors.length > 0) return loadFault(given, path, errors[0], isCompiled);
  if (name === "BuildMessage" || name === "SyntaxError") {
    const where = typeof position?.line === "number" ? ` (${position.file}:${position.line})` : "";
    return `plugin ${given} cannot be read: ${reasonOf(thrown)}${where}`;
  }
  if (code === "ERR_MODULE_NOT_FOUND" && typeof specifier === "string") {
    const from = typeof referrer === "string" && referrer !== path ? ` in ${referrer}` : "";
    const isFile = /^[./]/.test(specifier);
    const way = isFile
      ? "the file is not there"
      : `install it beside the plugin${isCompiled ? `, and for the compiled program ${bundleAdvice(given, path)}` : ""}`;
    return `plugin ${given} imports "${specifier}"${from}, which is not found: ${way}`;
  }
  if (code === "ERR_MODULE_NOT_FOUND") {
    const reason = reasonOf(thrown);
    // The hint that goes with it is to fetch a package of that name from anybody.
    return reason.includes(`"${PLUGIN_MODULE}"`)
      ? `plugin ${given} imports "${PLUGIN_MODULE}", which this runtime cannot be given: bundle the plugin with it, by Bun and without --external`
      : `plugin ${given} cannot be loaded: ${reason.replace(/ hint: .*(?= at file:)/, "")}`;
  }
  return `plugin ${given} threw while it was loading: ${reasonOf(thrown)}`;
}

function bundleAdvice(given: string, path: string): string {
  const [entry, name] = FILE.test(given) ? [given, given] : [path, `./${basename(given)}`];
  const bundle = `${name.replace(/\.[cm]?[jt]s$/, "")}.bundle.js`;
  return `bundle it into one file: bun build ${entry} --target=bun --external ${PLUGIN_MODULE} --outfile ${bundle}`;
}
