/** The form of every resource that the chart may render, with the limits that Control Plane sets; nothing else is let through. */

import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";

const RESERVED_PORTS = [8012, 8022, 9090, 9091, 15000, 15001, 15006, 15020, 15021, 15090, 41000];
const closed = { additionalProperties: false };
const text = (pattern: string, more: { maxLength?: number } = {}) => Type.String({ pattern, ...more });

const Name = text("^[a-z]([a-z0-9-]*[a-z0-9])?$", { maxLength: 64 });
/** 49 characters at most, and not ending so. */
const WorkloadName = text("^(?!.*-headless$)[a-z]([a-z0-9-]*[a-z0-9])?$", { maxLength: 49 });
const Tags = Type.Object(
  {
    "helm.sh/chart": text("^cpln-task-runner-\\d+\\.\\d+\\.\\d+$"),
    "app.cpln.io/name": Name,
    "app.cpln.io/instance": Name,
    "app.cpln.io/version": Type.String({ minLength: 1 }),
    "app.cpln.io/managed-by": Type.Literal("Helm"),
    "cpln/marketplace": Type.Literal("true"),
    "cpln/marketplace-template": Type.Literal("cpln-task-runner"),
    "cpln/marketplace-template-version": text("^\\d+\\.\\d+\\.\\d+$"),
    "cpln/marketplace-gvc": Name,
  },
  closed,
);
const every = { name: Name, description: Type.String({ minLength: 1, maxLength: 250 }), tags: Tags };

const Identity = Type.Object({ ...every, kind: Type.Literal("identity"), gvc: Name }, closed);

const Policy = Type.Object(
  {
    ...every,
    kind: Type.Literal("policy"),
    targetKind: Type.Literal("secret"),
    targetLinks: Type.Array(text("^//secret/[a-z]([a-z0-9-]*[a-z0-9])?$"), {
      minItems: 1,
      uniqueItems: true,
    }),
    bindings: Type.Tuple([
      Type.Object(
        {
          permissions: Type.Tuple([Type.Literal("reveal")]),
          principalLinks: Type.Tuple([text("^//gvc/[a-z0-9-]+/identity/[a-z0-9-]+$")]),
        },
        closed,
      ),
    ]),
  },
  closed,
);

const Secret = Type.Object(
  {
    ...every,
    kind: Type.Literal("secret"),
    type: Type.Literal("dictionary"),
    data: Type.Record(text("^[A-Za-z0-9_-]+$"), Type.String({ minLength: 1 }), {
      minProperties: 1,
      ...closed,
    }),
  },
  closed,
);

const Port = Type.Intersect([
  Type.Integer({ minimum: 80, maximum: 65_535 }),
  Type.Not(Type.Union(RESERVED_PORTS.map((port) => Type.Literal(port)))),
]);

const probe = (path: string) =>
  Type.Object(
    {
      httpGet: Type.Object({ path: Type.Literal(path), port: Port }, closed),
      initialDelaySeconds: Type.Integer({ minimum: 0, maximum: 600 }),
      periodSeconds: Type.Integer({ minimum: 1, maximum: 60 }),
      timeoutSeconds: Type.Integer({ minimum: 1, maximum: 60 }),
      failureThreshold: Type.Integer({ minimum: 1, maximum: 20 }),
    },
    closed,
  );

const Container = Type.Object(
  {
    name: Name,
    image: Type.String({ minLength: 1 }),
    // The scalar `port` is deprecated.
    ports: Type.Tuple([Type.Object({ number: Port, protocol: Type.Literal("http") }, closed)]),
    cpu: text("^[0-9]+(\\.[0-9]+)?m?$"),
    memory: text("^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi)$"),
    // Names that begin with CPLN_ are the platform's; values must be texts.
    env: Type.Array(
      Type.Object({ name: text("^(?!CPLN_)[A-Z][A-Z0-9_]*$"), value: Type.String({ minLength: 1 }) }, closed),
      { uniqueItems: true },
    ),
    // The image has no shell: without a hook of its own the platform's `sh -c "sleep …"` fails and kills the replica.
    lifecycle: Type.Object(
      {
        preStop: Type.Object(
          {
            exec: Type.Object(
              { command: Type.Tuple([Type.Literal("task-runner"), Type.Literal("version")]) },
              closed,
            ),
          },
          closed,
        ),
      },
      closed,
    ),
    readinessProbe: probe("/health/ready"),
    livenessProbe: probe("/health/live"),
  },
  closed,
);
export type Container = Static<typeof Container>;

const Cidrs = Type.Array(text("^[0-9A-Fa-f.:]+/[0-9]{1,3}$"), { maxItems: 250 });
const firewall = (inbound: TSchema) =>
  Type.Object(
    {
      external: Type.Object({ inboundAllowCIDR: inbound, outboundAllowCIDR: Cidrs }, closed),
      internal: Type.Object(
        { inboundAllowType: Type.Union([Type.Literal("none"), Type.Literal("same-gvc")]) },
        closed,
      ),
    },
    closed,
  );
const scale = (least: number) => ({
  minScale: Type.Integer({ minimum: least }),
  maxScale: Type.Integer({ minimum: 1 }),
});
const workload = (spec: Record<string, TSchema>) =>
  Type.Object(
    {
      ...every,
      name: WorkloadName,
      kind: Type.Literal("workload"),
      gvc: Name,
      spec: Type.Object(
        {
          identityLink: text("^//gvc/[a-z0-9-]+/identity/[a-z0-9-]+$"),
          containers: Type.Tuple([Container]),
          ...spec,
        },
        closed,
      ),
    },
    closed,
  );

/** Scales with requests; cannot name a grace of its own, and answers within 600 s. */
const ServerlessWorkload = workload({
  type: Type.Literal("serverless"),
  defaultOptions: Type.Object(
    {
      autoscaling: Type.Object(
        {
          metric: Type.Literal("concurrency"),
          target: Type.Integer({ minimum: 1 }),
          ...scale(0),
          scaleToZeroDelay: Type.Integer({ minimum: 30, maximum: 3_600 }),
        },
        closed,
      ),
      capacityAI: Type.Literal(false),
      timeoutSeconds: Type.Integer({ minimum: 1, maximum: 600 }),
    },
    closed,
  ),
  firewallConfig: firewall(Cidrs),
});

/** Cannot scale by concurrency nor to zero; scaling by cpu excludes Capacity AI. */
const StandardWorkload = workload({
  type: Type.Literal("standard"),
  defaultOptions: Type.Object(
    {
      autoscaling: Type.Object(
        {
          metric: Type.Union(["cpu", "memory", "disabled"].map((metric) => Type.Literal(metric))),
          target: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
          ...scale(1),
        },
        closed,
      ),
      capacityAI: Type.Literal(false),
      timeoutSeconds: Type.Integer({ minimum: 1, maximum: 3_600 }),
    },
    closed,
  ),
  rolloutOptions: Type.Object(
    { terminationGracePeriodSeconds: Type.Integer({ minimum: 0, maximum: 900 }) },
    closed,
  ),
  firewallConfig: firewall(Type.Tuple([])),
});

const SCHEMAS: Readonly<Record<string, readonly TSchema[]>> = {
  identity: [Identity],
  policy: [Policy],
  secret: [Secret],
  workload: [ServerlessWorkload, StandardWorkload],
};

/** A workload as the chart renders it. */
export interface Workload {
  readonly spec: {
    readonly type: string;
    readonly identityLink: string;
    readonly containers: readonly [Container];
    readonly defaultOptions: {
      readonly autoscaling: Readonly<Record<string, unknown>>;
      readonly timeoutSeconds: number;
    };
    readonly rolloutOptions?: { readonly terminationGracePeriodSeconds: number };
    readonly firewallConfig: {
      readonly external: { readonly inboundAllowCIDR: string[]; readonly outboundAllowCIDR: string[] };
      readonly internal: { readonly inboundAllowType: string };
    };
  };
}

/** What is wrong with a resource, a line each; empty when it is as it should be. */
export function faultsOf(resource: Readonly<Record<string, unknown>>): string[] {
  const forms = SCHEMAS[String(resource.kind)] ?? [];
  const type = (resource.spec as { type?: unknown } | undefined)?.type;
  const form = forms.length > 1 && type === "standard" ? forms[1] : forms[0];
  if (form === undefined) return [`no resource of kind ${String(resource.kind)} is expected`];
  return [...Value.Errors(form, resource)].map(
    ({ path, message }) => `${String(resource.name)}${path}: ${message}`,
  );
}
