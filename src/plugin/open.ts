/** Makes a plugin's transports of its options, and gives every scheme one owner. */

import type { Clock } from "../core/clock.ts";
import type { Transport } from "../core/transport.ts";
import { lookingAt, pluginFault, reasonOf } from "./fault.ts";
import { heldToContract } from "./held.ts";
import { transportsFault } from "./judge.ts";
import type { LoadedPlugin } from "./load.ts";
import { PATIENCE_SEC, withPatience } from "./patience.ts";
import type { PluginContext } from "./plugin.ts";

/** A plugin with the options that it gets. */
export interface PluginWithOptions extends LoadedPlugin {
  readonly options: Readonly<Record<string, unknown>>;
}

export interface OpenPluginsOptions {
  readonly clock: Pick<Clock, "after">;
  /** What is there already. */
  readonly builtIn: readonly Transport[];
  /** What the plugin of that name is told. */
  readonly contextFor: (pluginName: string) => PluginContext;
}

/**
 * The transports of all plugins, in order. Rejects with the fault of the first plugin that gives none, or claims a
 * scheme that is taken; what was made until then is closed.
 */
export async function openPlugins(
  plugins: readonly PluginWithOptions[],
  options: OpenPluginsOptions,
): Promise<readonly Transport[]> {
  const owners = new Map<string, string>();
  for (const { name, schemes } of options.builtIn) {
    for (const scheme of schemes) owners.set(scheme, `the built-in transport "${name}"`);
  }
  const made: Transport[] = [];
  try {
    for (const loaded of plugins) {
      for (const transport of await transportsOf(loaded, options)) {
        made.push(transport);
        for (const scheme of transport.schemes) own(owners, scheme, loaded);
      }
    }
    return made;
  } catch (error) {
    // Why the start fails is known; that one of them does not close either would only hide it.
    await Promise.allSettled(made.map((transport) => transport.close()));
    throw error;
  }
}

function own(owners: Map<string, string>, scheme: string, { given, plugin }: LoadedPlugin): void {
  const owner = owners.get(scheme);
  if (owner !== undefined) {
    throw pluginFault(`plugin ${given} claims the scheme "${scheme}", which belongs to ${owner}`);
  }
  owners.set(scheme, `plugin "${plugin.name}"`);
}

async function transportsOf(
  { given, plugin, options: values }: PluginWithOptions,
  { clock, contextFor }: OpenPluginsOptions,
): Promise<readonly Transport[]> {
  const { name, transports } = plugin;
  let made: unknown = transports;
  if (typeof transports === "function") {
    made = await withPatience(
      clock,
      Promise.try(() => transports(values, contextFor(name))).catch((thrown: unknown) => {
        throw pluginFault(`plugin ${given} threw while it made its transports: ${reasonOf(thrown)}`, thrown);
      }),
      () => pluginFault(`plugin ${given} did not make its transports within ${PATIENCE_SEC} s`),
    );
  }
  return lookingAt(given, () => {
    const fault = transportsFault(made);
    if (fault !== null) throw pluginFault(`plugin ${given} is not usable: ${fault}`);
    return (made as readonly Transport[]).map(heldToContract);
  });
}
