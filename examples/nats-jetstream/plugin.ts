/** A Task Runner plugin that publishes tasks to NATS JetStream: a delivery succeeds once a stream has stored the message. */

import { JetStreamApiError, jetstream, type PubAck } from "@nats-io/jetstream";
import { errors, headers, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import {
  type Delivery,
  deferred,
  definePlugin,
  defineTransport,
  delivered,
  failed,
  type Outcome,
  signedHeaders,
  type Transport,
  Type,
} from "task-runner/plugin";
import { Connections } from "./connections.ts";
import { type Destination, readTarget, serversIn } from "./target.ts";

export default definePlugin({
  name: "nats-jetstream",
  apiVersion: 1,
  envPrefix: "NATS_",
  options: Type.Object({
    NATS_SERVERS: Type.String({
      pattern: String.raw`^\s*(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?\s*(?:,\s*(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d{1,5})?\s*)*$`,
      allowed: "host:port, or several with commas between them",
      description: "The servers that tasks may name",
    }),
    NATS_TOKEN: Type.Optional(Type.String({ secret: true, description: "Token to log in with" })),
    NATS_CREDS: Type.Optional(
      Type.String({
        secret: true,
        pattern: "BEGIN NATS USER JWT",
        allowed: "the content of a .creds file; NATS_CREDS_FILE names the file",
        description: "Credentials to log in with",
      }),
    ),
    NATS_TLS: Type.Boolean({
      default: false,
      description: "Whether to refuse a server that does not speak TLS",
    }),
  }),
  transports: ({ NATS_SERVERS, NATS_TOKEN, NATS_CREDS, NATS_TLS }, { version }) => [
    natsTransport(
      serversIn(NATS_SERVERS),
      new Connections({
        name: `task-runner/${version}`,
        token: NATS_TOKEN,
        creds: NATS_CREDS,
        tls: NATS_TLS,
      }),
    ),
  ],
});

function natsTransport(servers: ReadonlySet<string>, connections: Connections): Transport {
  return defineTransport({
    name: "nats-jetstream",
    schemes: ["nats:"],
    check: (target) => {
      const read = readTarget(target, servers);
      return "problems" in read ? read.problems : [];
    },
    exchange: async (delivery, signal) => {
      const read = readTarget(delivery.target, servers);
      if ("problems" in read) throw new Error("its target was checked");
      const connection = await connections.get(read.destination.server);
      // It may have taken so long to connect that nobody waits for the message any more.
      return signal.aborted ? deferred("too late") : publish(connection, read.destination, delivery);
    },
    close: () => connections.close(),
  });
}

/** Publishes and waits for the stream's word. What it throws says something against the server. */
async function publish(
  connection: NatsConnection,
  { subject }: Destination,
  delivery: Delivery,
): Promise<Outcome> {
  const { body } = delivery.target;
  const payload = typeof body === "string" ? new TextEncoder().encode(body) : (body ?? new Uint8Array());
  const head = headersOf(delivery);
  const maxBytes = connection.info?.max_payload ?? Number.POSITIVE_INFINITY;
  // The headers count too.
  if (payload.length + bytesOf(head) > maxBytes) {
    return failed(`the message is larger than the ${maxBytes} bytes that the server takes`, {
      permanent: true,
    });
  }
  try {
    const ack = await jetstream(connection).publish(subject, payload, {
      headers: head,
      // A second message of that id is not stored within the stream's duplicate window.
      msgID: delivery.taskId,
      timeout: delivery.timeoutMs,
    });
    return delivered({ responseExcerpt: wordsOf(ack) });
  } catch (error) {
    if (error instanceof JetStreamApiError) {
      return failed(`JetStream refused the message: ${error.message}`, { status: error.status });
    }
    if (isNoResponders(error)) return failed(`no stream takes the subject ${subject}`, { status: 503 });
    throw error;
  }
}

/** It is the cause of a cause of what is thrown. */
function isNoResponders(error: unknown): boolean {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth++) {
    if (cause instanceof errors.NoRespondersError) return true;
  }
  return false;
}

function headersOf(delivery: Delivery): MsgHdrs {
  const { taskId, queue, attempt, fence, scheduledAtMs, traceparent, target } = delivery;
  const own = {
    ...signedHeaders({}, delivery, Date.now()),
    "X-Task-Id": taskId,
    "X-Task-Queue": queue,
    "X-Task-Attempt": String(attempt),
    "X-Task-Fence": String(fence),
    "X-Task-Scheduled-At": new Date(scheduledAtMs).toISOString(),
    ...(traceparent === null ? {} : { traceparent }),
  };
  const head = headers();
  const ours = new Set(Object.keys(own).map((name) => name.toLowerCase()));
  for (const [name, value] of Object.entries(target.headers)) {
    if (!ours.has(name.toLowerCase())) head.set(name, value);
  }
  for (const [name, value] of Object.entries(own)) head.set(name, value);
  return head;
}

/** What the headers take on the wire, with room for the message id. */
function bytesOf(head: MsgHdrs): number {
  let bytes = 100;
  for (const name of head.keys()) bytes += name.length + Buffer.byteLength(head.get(name)) + 4;
  return bytes;
}

function wordsOf({ stream, seq, duplicate }: PubAck): string {
  return JSON.stringify({ stream, seq, duplicate: duplicate ?? false });
}
