/** What a task's URL may be: `nats://SERVER/SUBJECT`, where the server is one that NATS_SERVERS lists. */

import { problem, type Target, type TargetProblem } from "task-runner/plugin";

/** Where a message goes. */
export interface Destination {
  /** As NATS_SERVERS lists it: host:port. */
  readonly server: string;
  readonly subject: string;
}

const DEFAULT_PORT = "4222";
const MAX_SUBJECT_CHARS = 255;
/** Tokens with dots between them. Wildcards, blanks and control characters cannot be published to. */
const SUBJECT = /^[^\s.*>\p{Cc}]+(?:\.[^\s.*>\p{Cc}]+)*$/u;
/** The server's own: publishing there would give orders to JetStream, or answers to somebody's requests. */
const RESERVED = /^(?:\$|_INBOX(?:\.|$))/i;
/** Headers that tell JetStream what to do, e.g. to purge a subject. */
const ORDERS = /^nats-/i;

/** The servers in a list such as "nats-1:4222, nats-2": each as host:port. */
export function serversIn(list: string): ReadonlySet<string> {
  return new Set(list.split(",").map((server) => serverOf(new URL(`nats://${server.trim()}`))));
}

function serverOf({ hostname, port }: URL): string {
  return `${hostname.toLowerCase()}:${port || DEFAULT_PORT}`;
}

/** Where a target's message goes, or all that is wrong with it. */
export function readTarget(
  target: Target,
  servers: ReadonlySet<string>,
): { readonly destination: Destination } | { readonly problems: readonly TargetProblem[] } {
  const problems: TargetProblem[] = [];
  const destination = readUrl(target.url, servers, problems);
  if (target.method !== "POST") problems.push(problem("task.method", "must be POST, or left out"));
  for (const [name, value] of Object.entries(target.headers)) {
    if (ORDERS.test(name)) {
      problems.push(
        problem(`task.headers.${name}`, "is for Task Runner to set: it would give orders to JetStream", true),
      );
    } else if (!/^[\x21-\x39\x3b-\x7e]+$/.test(name) || /[\r\n]/.test(value)) {
      problems.push(
        problem("task.headers", "must be printable names without a colon, and values of one line"),
      );
    }
  }
  return destination === null || problems.length > 0 ? { problems } : { destination };
}

function readUrl(text: string, servers: ReadonlySet<string>, problems: TargetProblem[]): Destination | null {
  const wrong = (message: string, forbidden = false) => {
    problems.push(problem("task.url", message, forbidden));
    return null;
  };
  const url = URL.parse(text);
  if (url === null || url.protocol !== "nats:" || url.hostname === "") {
    return wrong("must be like nats://nats-1:4222/orders.created");
  }
  if (url.username !== "" || url.password !== "") {
    return wrong("must hold no user name or password: the plugin's options do", true);
  }
  if (url.search !== "" || url.hash !== "") return wrong("must end with the subject, without ? and #");
  const server = serverOf(url);
  // A task comes from who may enqueue; which servers may be reached is the operator's to say.
  if (!servers.has(server))
    return wrong(`names the server ${server}, which NATS_SERVERS does not list`, true);
  const subject = decoded(url.pathname.slice(1));
  if (subject === null || subject.length > MAX_SUBJECT_CHARS || !SUBJECT.test(subject)) {
    return wrong("must name one subject, like orders.created: no wildcards, blanks or empty parts");
  }
  return RESERVED.test(subject)
    ? wrong("must not name a subject of the server's own", true)
    : { server, subject };
}

function decoded(path: string): string | null {
  try {
    return decodeURIComponent(path);
  } catch {
    return null;
  }
}
