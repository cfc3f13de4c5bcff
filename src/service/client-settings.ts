/** A client as callers write and see it: its schemas, and the way between them and what is kept. */

import { type Static, Type } from "@sinclair/typebox";
import { type Client, limitsOf, type Tier } from "../core/client.ts";
import type { FieldProblem } from "../core/errors.ts";
import type { ClientUse } from "../core/store.ts";
import { ClientIdSchema, QueueNameSchema } from "./enqueue-request.ts";
import { orNull, says, TimeSchema, timeJson, yesOrNo } from "./schema-words.ts";
import { SigningSchema, signingJson } from "./signing-json.ts";
import { LIMIT_SCHEMAS, limitsJson, TierNameSchema } from "./tier-settings.ts";

/** The most entries of a list of what a client may use. */
const MAX_LISTED = 100;
const HOST_FORM = "a host without scheme, port or path, such as example.com, *.example.com or 192.0.2.1";
/** A name or an IPv4 address, or an IPv6 address in brackets: nothing that a URL would take for more than its host. */
const HOST = /^(?:[^\s*:/?#@\\[\]*]+|\[[0-9a-f:.]+\])$/i;

const OverridesSchema = says(
  "an object with requests_per_minute, max_concurrent or both",
  Type.Object(
    {
      requests_per_minute: Type.Optional(LIMIT_SCHEMAS.requests_per_minute),
      max_concurrent: Type.Optional(LIMIT_SCHEMAS.max_concurrent),
    },
    {
      additionalProperties: false,
      description: "Limits of its own in place of the tier's. Replaced as a whole: {} takes them all away.",
    },
  ),
);

const { default: _unnamed, ...ListedQueueSchema } = QueueNameSchema;

/** An empty list is refused: it might be meant as "no restriction", and would forbid everything. */
const AllowedQueuesSchema = orNull(
  says(
    `a list of 1 to ${MAX_LISTED} names of queues`,
    Type.Array(ListedQueueSchema, {
      minItems: 1,
      maxItems: MAX_LISTED,
      description: "The queues it may use.",
    }),
  ),
  "all queues",
);

const AllowedHostsSchema = orNull(
  says(
    `a list of 1 to ${MAX_LISTED} hosts`,
    Type.Array(says(HOST_FORM, Type.String({ minLength: 1, maxLength: 255 })), {
      minItems: 1,
      maxItems: MAX_LISTED,
      description: "The hosts it may have called: a name, *.name for everything below it, or an address.",
    }),
  ),
  "all hosts",
);

export const ClientSetSchema = says(
  "a JSON object",
  Type.Object(
    {
      client_id: ClientIdSchema,
      tier: Type.Optional(TierNameSchema),
      enabled: Type.Optional(yesOrNo("false: its new tasks are refused, and its waiting ones held.")),
      overrides: Type.Optional(OverridesSchema),
      allowed_queues: Type.Optional(AllowedQueuesSchema),
      allowed_hosts: Type.Optional(AllowedHostsSchema),
    },
    {
      $id: "ClientSetRequest",
      additionalProperties: false,
      description: "What is left out stays as it is; of a new client it is the default.",
    },
  ),
);
export type ClientSetRequest = Static<typeof ClientSetSchema>;

export const LabelSchema = orNull(
  says(
    "text of 1 to 100 characters without control characters",
    Type.String({
      minLength: 1,
      maxLength: 100,
      pattern: "^[^\\u0000-\\u001f\\u007f]+$",
      description: "What the key is for.",
    }),
  ),
  "none",
);

const KeySchema = Type.Object({
  key_id: Type.String(),
  label: Type.Union([Type.String(), Type.Null()]),
  created_at: TimeSchema,
});

const SETTINGS = {
  client_id: Type.String(),
  tier: Type.String(),
  enabled: Type.Boolean(),
  overrides: OverridesSchema,
  allowed_queues: AllowedQueuesSchema,
  allowed_hosts: AllowedHostsSchema,
  keys: Type.Array(KeySchema, {
    description: "Its API keys, by which they can be told apart; never the keys.",
  }),
  signing: SigningSchema,
  created_at: TimeSchema,
};
type ClientSettingsJson = Static<ReturnType<typeof Type.Object<typeof SETTINGS>>>;

export const ClientSchema = Type.Object(
  {
    ...SETTINGS,
    limits: Type.Object(LIMIT_SCHEMAS, { description: "Those in force: its own, and its tier's." }),
    running: Type.Integer({ description: "Its tasks that are running now." }),
    requests_last_minute: Type.Integer({ description: "What counts towards requests_per_minute now." }),
  },
  { $id: "Client" },
);
export type ClientJson = Static<typeof ClientSchema>;

/** A client without what it is using: as the audit shows it. Of its keys and secrets it tells the ids, and no more. */
export function clientSettingsJson(id: string, client: Client): ClientSettingsJson {
  const { requestsPerMinute, maxConcurrent } = client.overrides;
  return {
    client_id: id,
    tier: client.tier,
    enabled: client.enabled,
    overrides: {
      ...(requestsPerMinute !== undefined && { requests_per_minute: requestsPerMinute }),
      ...(maxConcurrent !== undefined && { max_concurrent: maxConcurrent }),
    },
    allowed_queues: client.allowedQueues === null ? null : [...client.allowedQueues],
    allowed_hosts: client.allowedHosts === null ? null : [...client.allowedHosts],
    keys: client.keys.map((key) => ({
      key_id: key.id,
      label: key.label,
      created_at: timeJson(key.createdAtMs),
    })),
    signing: signingJson(client.signing),
    created_at: timeJson(client.createdAtMs),
  };
}

/** `tier` is the one whose limits it has. */
export function clientJson(id: string, client: Client, tier: Tier, use: ClientUse): ClientJson {
  return {
    ...clientSettingsJson(id, client),
    limits: limitsJson(limitsOf(client, tier)),
    running: use.running,
    requests_last_minute: use.requests,
  };
}

/** What a request changes of a client. What is wrong is added to `problems`; the change is then not to be made. */
export function clientChange(request: ClientSetRequest, problems: FieldProblem[]): Partial<Client> {
  const { tier, enabled, overrides, allowed_queues: queues, allowed_hosts: hosts } = request;
  return {
    ...(tier !== undefined && { tier }),
    ...(enabled !== undefined && { enabled }),
    ...(overrides !== undefined && {
      overrides: {
        ...(overrides.requests_per_minute !== undefined && {
          requestsPerMinute: overrides.requests_per_minute,
        }),
        ...(overrides.max_concurrent !== undefined && { maxConcurrent: overrides.max_concurrent }),
      },
    }),
    ...(queues !== undefined && { allowedQueues: queues === null ? null : unique(queues) }),
    ...(hosts !== undefined && {
      allowedHosts: hosts === null ? null : unique(hosts.map((host, at) => allowedHost(host, at, problems))),
    }),
  };
}

function unique(values: readonly string[]): readonly string[] {
  return [...new Set(values)];
}

/** A host in the one spelling that URLs have of it, so that the list shows what is compared. */
function allowedHost(given: string, at: number, problems: FieldProblem[]): string {
  const wildcard = given.startsWith("*.") ? "*." : "";
  const host = given.slice(wildcard.length);
  const isBareIpv6 = host.includes(":") && !host.startsWith("[");
  const text = isBareIpv6 ? `[${host}]` : host;
  const hostname = (HOST.test(text) ? URL.parse(`http://${text}/`)?.hostname : null) ?? "";
  const isAddress = hostname.startsWith("[") || /(?:^|\.)\d+$/.test(hostname);
  if (hostname === "" || (wildcard !== "" && isAddress)) {
    problems.push({ path: `allowed_hosts.${at}`, message: `must be ${HOST_FORM}` });
  }
  return wildcard + hostname.replace(/\.$/, "");
}
