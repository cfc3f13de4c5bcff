/** What a plugin is written against, as the module "task-runner/plugin": nothing else of Task Runner is its business. */

import type { Static, TObject } from "@sinclair/typebox";
import type { Transport } from "../core/transport.ts";

export { type Static, Type } from "@sinclair/typebox";
export type { FieldProblem } from "../core/errors.ts";
export type { Target } from "../core/task.ts";
export type { Delivery, Outcome, TargetProblem, Transport } from "../core/transport.ts";
export { signedHeaders } from "../transport/http/signing.ts";
export { defineTransport, type TransportParts } from "./define-transport.ts";
export { deferred, delivered, failed, problem } from "./outcomes.ts";

/** The version of this contract. A plugin says which one it was written for. */
export const PLUGIN_API_VERSION = 1;

/** Writes to Task Runner's log, with the plugin's name. Facts first, then the message; secrets are the plugin's to leave out. */
export interface PluginLogger {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/** What a plugin is told of the process that it runs in. */
export interface PluginContext {
  /** Task Runner's own version. */
  readonly version: string;
  /** Whether tasks may call loopback, private and link-local addresses. */
  readonly allowPrivateUrls: boolean;
  readonly logger: PluginLogger;
}

export interface Plugin<Options extends TObject = TObject> {
  /** 1 to 64 lower-case letters, digits and dashes. */
  readonly name: string;
  readonly apiVersion: typeof PLUGIN_API_VERSION;
  /** Begins the name of every option, e.g. `NATS_`. Names under it that are no options are pointed out. */
  readonly envPrefix?: string;
  /**
   * Options by their full names in the environment: text, numbers, booleans, choices of texts. Beside a schema's own
   * words, `secret: true` never shows the value and lets NAME_FILE name a file that holds it; `allowed` says in
   * words what a pattern says.
   */
  readonly options?: Options;
  /**
   * The transports, or what makes them of the options. Called once, at start, in processes that only accept tasks too:
   * connect at the first delivery, not here.
   */
  readonly transports:
    | readonly Transport[]
    | ((
        options: Static<Options>,
        context: PluginContext,
      ) => readonly Transport[] | Promise<readonly Transport[]>);
}

/** Gives the plugin back as it is; being called with one, it has its types checked. */
export function definePlugin<Options extends TObject>(plugin: Plugin<Options>): Plugin<Options> {
  return plugin;
}
