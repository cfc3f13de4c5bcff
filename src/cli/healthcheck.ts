/** `healthcheck`: whether the role on this machine is ready; for images that have no shell and no curl. */

import { type Command, Option } from "commander";
import type { Role } from "../config.ts";
import { hostInUrl, reachableHost } from "../core/address.ts";
import { whyUnreachable } from "./api-client.ts";
import { type CliHost, CommandFailure, EXIT } from "./host.ts";
import { baseUrl, wholeNumber } from "./input.ts";
import { plain } from "./plain.ts";
import { loadSettings, refuseProblems, type SettingOptions } from "./settings.ts";
import { roleArgument } from "./show-config.ts";

interface HealthcheckOptions extends SettingOptions {
  readonly url?: string;
  readonly timeout: number;
}

/** The most of an unready answer that is shown. */
const MAX_SHOWN_CHARS = 500;

export function addHealthcheckCommand(
  program: Command,
  host: CliHost,
  ended: (exitCode: number) => void,
): void {
  program
    .command("healthcheck")
    .description("exit with 0 when the role on this machine is ready, with 1 when it is not")
    .addArgument(roleArgument())
    .addOption(
      new Option("--url <url>", "ask this address in place of the one PORT, HOST and MODE give").argParser(
        baseUrl,
      ),
    )
    .addOption(new Option("--port <n>", "port to ask (PORT)"))
    .addOption(
      new Option("--timeout <seconds>", "wait this long for the answer")
        .argParser(wholeNumber(1, 300))
        .default(5),
    )
    .addHelpText(
      "after",
      `
Examples:
  task-runner healthcheck            port 8080, or what MODE and PORT say
  task-runner healthcheck work       port 8082
  task-runner healthcheck --url http://10.0.0.5:8080`,
    )
    .action(async (role: Role | undefined, options: HealthcheckOptions) => {
      const url = options.url ?? localUrl(host, options, role);
      ended(await check(host, url, options.timeout));
    });
}

function localUrl(host: CliHost, options: SettingOptions, role: Role | undefined): string {
  const loaded = loadSettings(host, options, role);
  // Whatever else is wrong is the role's to tell; here only the address counts.
  refuseProblems(loaded, ["MODE", "PORT", "HOST"]);
  const { HOST, PORT } = loaded.config;
  if (PORT === 0) {
    throw new CommandFailure(EXIT.usage, "error: PORT is 0, so only --url can say where to ask");
  }
  return `http://${hostInUrl(reachableHost(HOST))}:${PORT}`;
}

async function check(host: CliHost, url: string, timeoutSec: number): Promise<number> {
  try {
    const response = await fetch(`${url}/health/ready`, {
      redirect: "manual",
      signal: AbortSignal.timeout(timeoutSec * 1_000),
    });
    if (response.ok) {
      host.stdout.write("ready\n");
      return EXIT.ok;
    }
    const reason = plain((await response.text()).slice(0, MAX_SHOWN_CHARS));
    host.stderr.write(`not ready: ${url} answered ${response.status} ${reason}\n`);
  } catch (error) {
    host.stderr.write(`not ready: ${url} does not answer: ${whyUnreachable(error)}\n`);
  }
  return EXIT.failed;
}
