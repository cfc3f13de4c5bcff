/** Tells whether what a module exports is a plugin, and what is amiss where it is none: nobody has checked its types. */

import type { Transport } from "../core/transport.ts";
import { pluginFault } from "./fault.ts";
import { PLUGIN_API_VERSION, type Plugin, type PluginContext } from "./plugin.ts";

/** A plugin whose options are not known to the compiler. */
export interface AnyPlugin extends Omit<Plugin, "transports"> {
  readonly transports:
    | readonly Transport[]
    | ((options: Readonly<Record<string, unknown>>, context: PluginContext) => unknown);
}

const FIELDS: ReadonlySet<string> = new Set(["name", "apiVersion", "envPrefix", "options", "transports"]);
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/;
const SCHEME = /^[a-z][a-z0-9+.-]*:$/;
const METHODS = ["check", "deliver", "close"] as const;

/** The module's plugin. Throws the fault of a module that holds none; `given` is what the user named. */
export function judgePlugin(given: string, module: unknown): AnyPlugin {
  const found = isObject(module) ? module.default : undefined;
  if (found === undefined) {
    throw pluginFault(
      `plugin ${given} has no default export: it must end with "export default definePlugin({ … })"`,
    );
  }
  if (!isObject(found)) {
    throw pluginFault(
      `plugin ${given} is none: its default export is ${wordFor(found)}, not definePlugin({ … })`,
    );
  }
  // A copy, so that what was judged is what is used, whatever a getter gives the next time.
  const plugin = { ...found };
  const fault = pluginShapeFault(plugin);
  if (fault !== null) throw pluginFault(`plugin ${given} is not usable: ${fault}`);
  return plugin as unknown as AnyPlugin;
}

function pluginShapeFault(found: Record<string, unknown>): string | null {
  const { apiVersion, name, envPrefix, options, transports } = found;
  // First of all: in another version all the rest may look different.
  if (apiVersion !== PLUGIN_API_VERSION) {
    const says =
      apiVersion === undefined ? "it names no apiVersion" : `its apiVersion is ${shown(apiVersion)}`;
    return `${says}, and this Task Runner takes ${PLUGIN_API_VERSION}`;
  }
  if (typeof name !== "string" || !NAME.test(name)) {
    return `its name is ${shown(name)}, and must be 1 to 64 lower-case letters, digits and dashes`;
  }
  const strange = Object.keys(found).find((field) => !FIELDS.has(field));
  if (strange !== undefined) return `it has a field "${strange}", and takes ${[...FIELDS].join(", ")}`;
  if (typeof transports !== "function" && !Array.isArray(transports)) {
    return `its transports are ${wordFor(transports)}, and must be a list or a function that gives one`;
  }
  if (envPrefix !== undefined && typeof envPrefix !== "string") return "its envPrefix is not text";
  if (options === undefined) return null;
  if (!isObject(options) || !isObject(options.properties)) return "its options are not a Type.Object({ … })";
  return envPrefix === undefined ? 'it has options and no envPrefix, such as "NATS_"' : null;
}

/** What is wrong with the transports that a plugin gave; null when each is one. */
export function transportsFault(transports: unknown): string | null {
  if (!Array.isArray(transports) || transports.length === 0) {
    return `it must give a list of at least one transport, and gave ${wordFor(transports)}`;
  }
  for (const [at, transport] of transports.entries()) {
    const fault = transportFault(transport);
    if (fault !== null) return `transport ${at + 1} of its list ${fault}`;
  }
  return null;
}

function transportFault(transport: unknown): string | null {
  if (!isObject(transport)) return `is ${wordFor(transport)}, not a transport`;
  const { name, schemes } = transport;
  if (typeof name !== "string" || name === "") return "has no name";
  if (!Array.isArray(schemes) || schemes.length === 0) return "has no schemes";
  const wrong = schemes.find((scheme) => typeof scheme !== "string" || !SCHEME.test(scheme));
  if (wrong !== undefined) {
    return `has the scheme ${shown(wrong)}, and must have it in lower case with its colon, like "nats:"`;
  }
  const missing = METHODS.find((method) => typeof transport[method] !== "function");
  return missing === undefined ? null : `has no function ${missing}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function wordFor(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (value === null || value === undefined) return "missing";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

const LONGEST_SHOWN = 60;

function shown(value: unknown): string {
  return value === undefined ? "missing" : (JSON.stringify(value) ?? wordFor(value)).slice(0, LONGEST_SHOWN);
}
