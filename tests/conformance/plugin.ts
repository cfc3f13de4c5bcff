/** What plugins are tested with, as the module "task-runner/plugin/conformance", to be run by `bun test`. */

import type { Static, TObject } from "@sinclair/typebox";
import type { Transport } from "../../src/core/transport.ts";
import { judgePlugin, transportsFault } from "../../src/plugin/judge.ts";
import type { Plugin } from "../../src/plugin/plugin.ts";

export {
  deliveryTo,
  type HardTarget,
  type TransportFixture,
  transportConformance,
  unaborted,
} from "./transport.ts";

/**
 * The transport that a plugin makes of these options; `name` says which where it makes several. Rejects with what would
 * stop Task Runner's start: a plugin or a transport that is none.
 */
export async function transportOf<Options extends TObject>(
  plugin: Plugin<Options>,
  options: Static<Options>,
  name?: string,
): Promise<Transport> {
  judgePlugin(plugin.name, { default: plugin });
  const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const { transports } = plugin;
  const made =
    typeof transports === "function"
      ? await transports(options, { version: "0.0.0", allowPrivateUrls: true, logger: quiet })
      : transports;
  const fault = transportsFault(made);
  if (fault !== null) throw new Error(`the plugin is not usable: ${fault}`);
  const [found, ...others] = name === undefined ? made : made.filter((transport) => transport.name === name);
  if (found === undefined || others.length > 0) {
    throw new Error(`which of its transports? ${made.map((transport) => transport.name).join(", ")}`);
  }
  return found;
}
