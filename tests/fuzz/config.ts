/** Fuzzes the settings: whatever the environment holds, the program starts within its bounds or says in one line each what is wrong. */

import fc from "fast-check";
import { appCommand, PROJECT_DIR, portOf } from "../../scripts/app-process.ts";
import { REDIS_GRAMMAR } from "../../src/app/redis-store.ts";
import { loadConfig, SETTING_NAMES, type SettingName, settingOf } from "../../src/config.ts";
import { Cases, type Job, must, type Report } from "./cases.ts";

/** Real processes; each costs a tenth of a second or two. */
const MAX_PROCESSES = 48;
const PROCESS_MS = 20_000;
/** In every secret that is given, so that it is found wherever it is shown. */
const SECRET = "s3cr3t-fuzz";

export async function fuzzConfig(job: Job): Promise<Report> {
  const cases = new Cases(job);
  await cases.run("config: in this process", 1, environments, judgesRightly, shown);
  const processes = Math.min(MAX_PROCESSES, Math.ceil(job.cases / 50));
  await cases.run("config: as processes", processes / job.cases, safeEnvironments, startsOrExits, shown);
  return cases.report();
}

// Environments ---------------------------------------------------------------------------------------------

/** What a name was given, and whether that is surely right, surely wrong, or not known here. */
interface Text {
  readonly text: string;
  readonly is: "right" | "wrong" | "unknown";
}

type Environment = Readonly<Record<string, Text>>;

const GARBAGE = fc
  .oneof(
    fc.constantFrom(
      ...[
        "",
        " ",
        "\0",
        "\n",
        "-",
        "NaN",
        "Infinity",
        "1e3",
        "0x10",
        "1_000",
        "٣",
        "true ",
        "yes",
        "null",
        "[]",
        "{}",
      ],
    ),
    fc.constantFrom(
      ...[
        "__proto__",
        "a,b",
        "a b",
        ",",
        "1,2",
        "$(id)",
        "`id`",
        "%s%n",
        "../..",
        "é",
        "😀",
        "\ud800",
        "x".repeat(5_000),
      ],
    ),
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.stringMatching(/^-?\d{1,30}(?:\.\d{1,10})?$/),
  )
  .map((text): Text => ({ text, is: "unknown" }));

const right = (text: string): Text => ({ text, is: "right" });
const wrong = (text: string): Text => ({ text, is: "wrong" });

const FORMS: Partial<Record<SettingName, fc.Arbitrary<Text>>> = {
  STORE_URL: fc.oneof(
    fc
      .constantFrom("sqlite::memory:", "sqlite:/tmp/x.db", "redis://127.0.0.1:6379/0", "rediss://h:1/15")
      .map(right),
    fc
      .tuple(
        fc.constantFrom(
          "redis",
          "rediss",
          "redis+sentinel",
          "http",
          "redis ",
          "REDIS",
          "rediss+sentinel",
          "redis:",
        ),
        fc.constantFrom(
          `:${SECRET}@`,
          `user:${SECRET}@`,
          `${SECRET}@`,
          `a:${SECRET}@b@`,
          `:${SECRET}%zz@`,
          `us er:${SECRET}@`,
        ),
        fc.constantFrom(
          "h:6379/0",
          "h",
          "h:0/0",
          "h:1,h:2/m",
          "[::1]:1/0",
          "h:99999/0",
          "h:1/-1",
          "h:1/0?x=1",
          "",
          "h:1/é",
          "h:1/0#x",
        ),
      )
      .map(([scheme, login, place]): Text => ({ text: `${scheme}://${login}${place}`, is: "unknown" })),
  ),
  REDIS_ADDR: fc.constantFrom(
    right("127.0.0.1:1"),
    right("h"),
    wrong("h:0"),
    wrong("h:70000"),
    wrong("a:1,b:2"),
  ),
  REDIS_SENTINEL_ADDR: fc.constantFrom(
    right("a:1"),
    right("a:1,b:2"),
    wrong("a:1,,b:2"),
    right("a"),
    wrong("a:x"),
  ),
  EGRESS_ALLOW_CIDRS: fc.constantFrom(
    right("10.0.0.0/8"),
    right("fd00::/8, 1.2.3.4"),
    wrong("10/8"),
    wrong("010.0.0.0/8"),
    wrong("10.0.0.0/33"),
  ),
  EGRESS_DENY_CIDRS: fc.constantFrom(right("0.0.0.0/0"), wrong("x"), wrong("::/129"), wrong(",")),
  EGRESS_PROXY_URL: fc.constantFrom(
    right(`http://u:${SECRET}@proxy:3128`),
    wrong(`socks5://u:${SECRET}@proxy`),
    wrong(`http://u:${SECRET}@proxy:3128/path`),
    wrong(`http://u:${SECRET}@proxy:0`),
  ),
  SECRETS_KEY: fc.constantFrom(
    right("f0".repeat(32)),
    right(`${"A".repeat(43)}=`),
    wrong(SECRET),
    wrong(`${SECRET}${"f".repeat(53)}`),
  ),
  ADMIN_API_KEY: fc.constantFrom(
    right(SECRET),
    wrong(`${SECRET}\n`),
    wrong(`${SECRET}é`),
    wrong(`${SECRET}${"x".repeat(1_024)}`),
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: fc.constantFrom(
    right("tracing:4318"),
    right("http://a:1/v1"),
    { text: `http://u:${SECRET}@h:1`, is: "unknown" },
    { text: `ftp://u:${SECRET}@h`, is: "unknown" },
    { text: `http://${SECRET}@`, is: "unknown" },
  ),
  PLUGINS: fc.constantFrom(right("./a.ts"), right("a, ./b.ts"), wrong("a,,b"), wrong(","), wrong("a\u0007")),
  PATH_PREFIX: fc.constantFrom(
    right("/tasks"),
    right("/a/b.c~d"),
    wrong("tasks"),
    wrong("/"),
    wrong("/a/"),
    wrong("/é"),
  ),
  HOST: fc.constantFrom(right("127.0.0.1"), right("::1"), wrong("a b"), wrong("[::1]")),
};

/** Texts for a setting, by its kind. */
function textsOf(name: SettingName): fc.Arbitrary<Text> {
  const { schema, secret } = settingOf(name);
  const own = FORMS[name];
  const byKind: fc.Arbitrary<Text>[] = own === undefined ? [] : [own];
  if (schema.type === "integer") byKind.push(wholes(schema.minimum ?? -(2 ** 53), schema.maximum ?? 2 ** 53));
  if (schema.type === "boolean") {
    byKind.push(
      fc.constantFrom(
        right("true"),
        right("FALSE"),
        right("1"),
        right(" 0 "),
        wrong("yes"),
        wrong("2"),
        wrong("t"),
      ),
    );
  }
  const choices = (schema.anyOf ?? []).map((option: { const: string }) => option.const) as string[];
  if (choices.length > 0) {
    byKind.push(
      fc.constantFrom(...choices.flatMap((one) => [right(one), right(one.toUpperCase()), wrong(`${one}s`)])),
    );
  }
  if (secret) byKind.push(GARBAGE.map(({ text }) => ({ text: `${text}${SECRET}`, is: "unknown" })));
  if (byKind.length === 0)
    byKind.push(fc.constantFrom(...["x", "free", "a-b"]).map((text) => ({ text, is: "unknown" })));
  return fc.oneof(
    { weight: 3, arbitrary: fc.oneof(...byKind) },
    { weight: 1, arbitrary: secret ? fc.oneof(...byKind) : GARBAGE },
  );
}

function wholes(minimum: number, maximum: number): fc.Arbitrary<Text> {
  return fc.oneof(
    fc
      .integer({ min: Math.max(minimum, -(2 ** 31)), max: Math.min(maximum, 2 ** 31 - 1) })
      .map((value) => right(` ${value} `)),
    fc.constantFrom(
      right(String(minimum)),
      right(String(maximum)),
      wrong(String(minimum - 1)),
      wrong(`${maximum}0`),
    ),
    fc.constantFrom(wrong("1.5"), wrong("1e3"), wrong("0x1"), wrong("+1"), wrong("1 2"), wrong("９")),
  );
}

function environmentsOf(names: readonly SettingName[], mostSet: number): fc.Arbitrary<Environment> {
  const one = fc.constantFrom(...names).chain((name) => textsOf(name).map((text) => [name, text] as const));
  const stray = fc
    .tuple(
      fc.constantFrom(
        "TASK_RUNNER_PORT",
        "PROT",
        "REDIS_PASWORD",
        "X",
        "DATA_DIR_FILE",
        "LOG_LEVEl",
        "__proto__",
      ),
      GARBAGE,
    )
    .map(([name, text]) => [name, text] as const);
  return fc
    .array(fc.oneof({ weight: 9, arbitrary: one }, { weight: 1, arbitrary: stray }), { maxLength: mostSet })
    .map((pairs) => Object.fromEntries(pairs.filter(([name]) => name !== "__proto__")));
}

const environments = environmentsOf(SETTING_NAMES, 12);

function shown(environment: Environment): string {
  return Object.entries(environment)
    .map(([name, { text, is }]) => `${name}=${JSON.stringify(text.slice(0, 200))} (${is})`)
    .join("\n");
}

function envOf(environment: Environment): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).map(([name, { text }]) => [name, text]));
}

// What must hold -------------------------------------------------------------------------------------------

function judgesRightly(environment: Environment): void {
  const env = envOf(environment);
  const { config, problems, warnings } = loadConfig(env, REDIS_GRAMMAR);
  for (const name of SETTING_NAMES) isWithin(name, config[name]);
  for (const { name, line } of problems) {
    must(line.startsWith(name), () => `a line of ${name} does not begin with it: ${line}`);
    isOneLine(line);
  }
  for (const warning of warnings) isOneLine(warning);
  const names = problems.map(({ name }) => name);
  must(new Set(names).size === names.length, () => `a name is told of twice: ${names.join(", ")}`);
  for (const [name, { text, is }] of Object.entries(environment)) {
    if (is === "unknown" || text.trim() === "" || !SETTING_NAMES.includes(name as SettingName)) continue;
    const told = problems.find((problem) => problem.name === name);
    // What does not go with the store is refused for that.
    if (is === "right") {
      const forItself = told !== undefined && /is not allowed:/.test(told.line);
      must(!forItself, () => `${name}=${JSON.stringify(text)} is refused: ${told?.line}`);
    } else {
      must(
        told !== undefined,
        () => `${name}=${JSON.stringify(text)} is taken for ${String(config[name as SettingName])}`,
      );
    }
  }
}

/** A setting in force keeps the bounds that its own schema states. */
function isWithin(name: SettingName, value: unknown): void {
  if (value === undefined) return;
  const { schema } = settingOf(name);
  if (schema.type === "integer") {
    const fits =
      Number.isSafeInteger(value) &&
      Number(value) >= (schema.minimum ?? 0) &&
      Number(value) <= (schema.maximum ?? Number.MAX_SAFE_INTEGER);
    must(fits, () => `${name} is ${value}`);
  }
  if (schema.type === "boolean") must(typeof value === "boolean", () => `${name} is ${value}`);
  if (typeof schema.pattern === "string")
    must(new RegExp(schema.pattern).test(String(value)), () => `${name} is ${value}`);
}

function isOneLine(line: string): void {
  must(
    !/[\r\n\u2028\u2029\0]/.test(line) && line.length < 1_500,
    () => `this is no one line: ${JSON.stringify(line)}`,
  );
  must(!line.includes(SECRET), () => `a line shows a secret: ${line}`);
  must(!/undefined|\[object | {4}at /.test(line), () => `a line says what means nothing: ${line}`);
}

// Processes ------------------------------------------------------------------------------------------------

/** Those that make no process wait for a Redis, leave files behind, or listen for all. */
const UNSAFE: ReadonlySet<string> = new Set([
  "STORE_URL",
  "REDIS_ADDR",
  "REDIS_SENTINEL_ADDR",
  "PORT",
  "HOST",
  "DATA_DIR",
  "PLUGINS",
  "DEFAULT_CLIENT_TIER",
  "SHUTDOWN_DELAY_SEC",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "MODE",
]);
const safeEnvironments = environmentsOf(
  SETTING_NAMES.filter((name) => !UNSAFE.has(name)),
  5,
).map((environment): Environment => {
  // A process's environment holds no NUL, and text that UTF-8 can hold.
  return Object.fromEntries(
    Object.entries(environment).filter(([, { text }]) => !text.includes("\0") && text.isWellFormed()),
  );
});

/** The real program says what was judged here: it listens, or exits with 2 and a line for each wrong name. */
async function startsOrExits(environment: Environment): Promise<void> {
  const own = { STORE_URL: "sqlite::memory:", HOST: "127.0.0.1", PORT: "0", SHUTDOWN_GRACE_SEC: "1" };
  const env = { ...envOf(environment), ...own };
  const { problems } = loadConfig(env, REDIS_GRAMMAR);
  const child = Bun.spawn([...appCommand(), "all"], {
    cwd: PROJECT_DIR,
    env: { PATH: process.env.PATH ?? "", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: PROCESS_MS,
    killSignal: "SIGKILL",
  });
  const stderr = new Response(child.stderr).text();
  let stdout = "";
  let listened = false;
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    stdout += decoder.decode(chunk, { stream: true });
    if (listened || !stdout.split("\n").some((line) => portOf(line) !== null)) continue;
    listened = true;
    child.kill("SIGTERM");
  }
  const status = await child.exited;
  const said = await stderr;
  must(!`${stdout}${said}`.includes(SECRET), () => `it shows a secret:\n${stdout}${said}`);
  must(!/^\s+at /m.test(said), () => `it shows a stack:\n${said}`);
  if (problems.length === 0) {
    // LOG_LEVEL may leave out the line that says where it listens.
    must(listened || status === 2, () => `it ended with ${status} without listening:\n${stdout}${said}`);
    return must(status === 0, () => `it ended with ${status}:\n${stdout}${said}`);
  }
  must(status === 2, () => `it ended with ${status} although settings are wrong:\n${said}`);
  const lines = said
    .trimEnd()
    .split("\n")
    .filter((line) => line.startsWith("error: "));
  const wanted = problems.map(({ line }) => `error: ${line}`);
  must(
    Bun.deepEquals(lines.sort(), wanted.sort()),
    () => `it said\n${lines.join("\n")}\nin place of\n${wanted.join("\n")}`,
  );
}
