/** A collector for tests: takes OTLP over HTTP as JSON, and keeps the spans as they were sent. */

/** A span as OTLP writes it, with its attributes by name. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly name: string;
  /** 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly events: readonly {
    readonly name: string;
    readonly attributes: Readonly<Record<string, unknown>>;
  }[];
  /** 2 for an error. */
  readonly status: { readonly code?: number; readonly message?: string };
  readonly resource: Readonly<Record<string, unknown>>;
}

export const KIND = { client: 3, producer: 4, consumer: 5 } as const;
export const ERROR = 2;

interface KeyValue {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}
type WireSpan = Omit<ReceivedSpan, "attributes" | "parentSpanId" | "events" | "resource"> & {
  readonly parentSpanId?: string;
  readonly attributes: readonly KeyValue[];
  readonly events: readonly { readonly name: string; readonly attributes: readonly KeyValue[] }[];
};
interface Wire {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly WireSpan[] }[];
  }[];
}

const PATIENCE_MS = 15_000;

export class Collector {
  readonly spans: ReceivedSpan[] = [];
  readonly paths = new Set<string>();
  readonly #server: Bun.Server<undefined>;
  #changed: () => void = () => {};

  constructor() {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        this.paths.add(new URL(request.url).pathname);
        this.#take((await request.json()) as Wire);
        return Response.json({});
      },
    });
  }

  /** host:port, as the setting takes it. */
  get endpoint(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  /** Resolves once there are so many spans; rejects when they do not come. */
  async has(count: number): Promise<readonly ReceivedSpan[]> {
    const deadlineMs = performance.now() + PATIENCE_MS;
    while (this.spans.length < count) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) throw new Error(`waited in vain for ${count} spans: ${this.spans.length} came`);
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#changed = resolve;
        }),
        Bun.sleep(leftMs),
      ]);
    }
    return this.spans;
  }

  of(kind: number): readonly ReceivedSpan[] {
    return this.spans.filter((span) => span.kind === kind);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  #take({ resourceSpans }: Wire): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({
          ...span,
          parentSpanId: span.parentSpanId ?? null,
          attributes: byName(span.attributes),
          events: span.events.map((event) => ({ ...event, attributes: byName(event.attributes) })),
          resource: byName(resource.attributes),
        });
      }
    }
    this.#changed();
  }
}

function byName(attributes: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
