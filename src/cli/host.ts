/** What the commands need of the process they run in, so that tests can look at what they write and ask. */

import type { Config, Env, LoadedConfig, OptionInForce, Overrides, Role } from "../config.ts";
import type { Clock } from "../core/clock.ts";
import type { InspectableStore } from "../core/inspection.ts";

/** A place to write text to. */
export interface Output {
  write(text: string): unknown;
  /** Whether a person looks at it. */
  readonly isTTY?: boolean;
}

export interface CliHost {
  readonly env: Env;
  /** The settings that `env` makes, below and above what else is given. */
  loadConfig(overrides?: Overrides): LoadedConfig;
  /** The options of the plugins that the settings name. Rejects with one line when a plugin cannot be loaded. */
  readyPlugins(loaded: LoadedConfig): Promise<{
    readonly options: readonly OptionInForce[];
    readonly problems: readonly string[];
    /** With the settings' own that are still true. */
    readonly warnings: readonly string[];
  }>;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly clock: Clock;
  /** The runtime's name and version. */
  readonly runtime: string;
  /** All of standard input. */
  readStdin(): Promise<Uint8Array>;
  /** Opens the store that the settings choose, which others may be working on; rejects with one line where there is none. */
  openStore(config: Config): Promise<{
    readonly name: string;
    /** Where it is; holds no secret. */
    readonly place: string;
    readonly store: InspectableStore & { close(): Promise<void> };
  }>;
  /** Runs a role until it is told to stop; resolves to the exit status. */
  run(role: Role, loaded: LoadedConfig): Promise<number>;
}

/** What an exit status says: all went well, it failed, or it was called wrongly. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/** Ends a command with lines for stderr and an exit status. */
export class CommandFailure extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.name = "CommandFailure";
    this.exitCode = exitCode;
  }
}
