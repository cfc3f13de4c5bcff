/** Plugins as a role uses them: loaded, given their options, and opened as transports. */

import process from "node:process";
import { type LoadedConfig, type OptionInForce, pluginNamesIn } from "../config.ts";
import type { Clock } from "../core/clock.ts";
import type { Transport } from "../core/transport.ts";
import { lookingAt, pluginFault } from "../plugin/fault.ts";
import { loadPlugins } from "../plugin/load.ts";
import { openPlugins, type PluginWithOptions } from "../plugin/open.ts";
import { outsideModules } from "../runtime.ts";
import type { Logger } from "../telemetry/logger.ts";
import { VERSION } from "../version.ts";

/** Plugins that are ready to be opened. */
export interface ReadyPlugins {
  readonly plugins: readonly PluginWithOptions[];
  /** Every option of theirs, for showing. */
  readonly options: readonly OptionInForce[];
  /** The lines that forbid to start. */
  readonly problems: readonly string[];
  /** The settings' warnings, less those about names that turned out to be options, and the plugins' own. */
  readonly warnings: readonly string[];
}

/** Loads what PLUGINS names and reads the options. Rejects with the fault of a plugin that cannot be loaded. */
export async function readyPlugins(
  { config, warnings, optionsOf }: LoadedConfig,
  clock: Pick<Clock, "after">,
): Promise<ReadyPlugins> {
  const names = config.PLUGINS === undefined ? [] : pluginNamesIn(config.PLUGINS);
  const loaded = await loadPlugins(names, { modules: outsideModules, clock, folder: process.cwd() });
  refuseSharedPrefix(loaded);
  const plugins: PluginWithOptions[] = [];
  const options: OptionInForce[] = [];
  const problems: string[] = [];
  const ownWarnings: string[] = [];
  for (const { given, plugin } of loaded) {
    const { name, envPrefix: prefix, options: schema } = plugin;
    if (prefix === undefined || schema === undefined) {
      plugins.push({ given, plugin, options: {} });
      continue;
    }
    const found = lookingAt(given, () => optionsOf({ owner: `plugin "${name}"`, prefix, schema }));
    plugins.push({ given, plugin, options: found.values });
    options.push(...found.options);
    problems.push(...found.problems.map(({ line }) => line));
    ownWarnings.push(...found.warnings);
  }
  const isOption = (warning: string) => options.some(({ name }) => warning.startsWith(`${name} `));
  return {
    plugins,
    options,
    problems,
    warnings: [...warnings.filter((warning) => !isOption(warning)), ...ownWarnings],
  };
}

/** Whose an option is must be plain from its name. */
function refuseSharedPrefix(loaded: readonly Pick<PluginWithOptions, "given" | "plugin">[]): void {
  for (const { given, plugin } of loaded) {
    const { envPrefix } = plugin;
    const other = loaded.find(
      (one) =>
        one.plugin !== plugin && envPrefix !== undefined && one.plugin.envPrefix?.startsWith(envPrefix),
    );
    if (other !== undefined) {
      throw pluginFault(
        `plugins ${given} and ${other.given} both have options that begin with "${envPrefix}": they cannot be told apart`,
      );
    }
  }
}

/** Opens the transports of all of them. Rejects with the fault of the first that has none. */
export async function openReadyPlugins(
  plugins: readonly PluginWithOptions[],
  builtIn: readonly Transport[],
  { clock, logger, allowPrivateUrls }: OpenReadyOptions,
): Promise<readonly Transport[]> {
  const transports = await openPlugins(plugins, {
    clock,
    builtIn,
    contextFor: (plugin) => ({ version: VERSION, allowPrivateUrls, logger: logger.child({ plugin }) }),
  });
  for (const { given, plugin } of plugins) logger.info({ plugin: plugin.name, from: given }, "plugin loaded");
  return transports;
}

interface OpenReadyOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly allowPrivateUrls: boolean;
}
