/** A DNS server for tests on an ephemeral loopback port, whose answers may change from question to question. */

import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import ipaddr from "ipaddr.js";
import type { Resolve } from "../../src/transport/http/resolve.ts";

/** What a name has at a time: addresses of either family, or another name that has them. */
export type Zone = readonly string[] | { readonly alias: string };

/** The answers to a name: always the same, or one after the other, the last of them for good. */
export type Answers = { readonly always: Zone } | { readonly inTurn: readonly Zone[] };

export interface DnsServer {
  /** Asks the server and nobody else, for both families. */
  readonly resolve: Resolve;
  /** The names that were asked for, each time. */
  readonly asked: readonly string[];
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const A = 1;
const CNAME = 5;
const AAAA = 28;
const HEADER_BYTES = 12;
const NAME_MISSING = 3;

/** Starts the server with what it knows; any other name does not exist. */
export async function startDns(names: Readonly<Record<string, Answers>>): Promise<DnsServer> {
  const socket = createSocket("udp4");
  const asked: string[] = [];
  const turns = new Map<string, number>();
  /** Both families are asked for at once and get one answer. */
  const zoneOf = (name: string, type: number): Zone | undefined => {
    const known = names[name];
    if (known === undefined || "always" in known) return known?.always;
    const key = `${name} ${type}`;
    const turn = turns.get(key) ?? 0;
    turns.set(key, turn + 1);
    return known.inTurn[Math.min(turn, known.inTurn.length - 1)];
  };
  socket.on("message", (question, from) => {
    const { name, type, end } = readQuestion(question);
    if (type === A) asked.push(name);
    const records: Buffer[] = [];
    let owner = name;
    let zone = zoneOf(name, type);
    while (zone !== undefined && "alias" in zone) {
      records.push(record(owner, CNAME, encodedName(zone.alias)));
      owner = zone.alias;
      zone = zoneOf(owner, type);
    }
    for (const text of zone ?? []) {
      const address = ipaddr.parse(text);
      const ofType = address.kind() === "ipv4" ? A : AAAA;
      if (ofType === type) records.push(record(owner, type, Buffer.from(address.toByteArray())));
    }
    const header = Buffer.alloc(HEADER_BYTES);
    question.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8580 | (zone === undefined ? NAME_MISSING : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    socket.send(
      Buffer.concat([header, question.subarray(HEADER_BYTES, end), ...records]),
      from.port,
      from.address,
    );
  });
  await new Promise<void>((bound) => socket.bind(0, "127.0.0.1", bound));
  const resolver = new Resolver({ timeout: 2_000, tries: 1 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  const stop = () => {
    resolver.cancel();
    return new Promise<void>((closed) => socket.close(() => closed()));
  };
  return {
    resolve: async (name) => {
      const families = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
      return families.flatMap((found) => (found.status === "fulfilled" ? found.value : []));
    },
    asked,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** RFC 1035, section 4.1.2. */
function readQuestion(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length));
    at += length + 1;
  }
  return { name: labels.join(".").toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

/** A record of class IN that may not be kept for a moment (RFC 1035, section 4.1.3). */
function record(name: string, type: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([encodedName(name), fixed, data]);
}

function encodedName(name: string): Buffer {
  const labels = name.split(".").filter((label) => label !== "");
  return Buffer.concat([
    ...labels.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, "latin1")),
    Buffer.of(0),
  ]);
}
