/** A body for each operation that takes one: what the page of the API offers to send. */

const LEASE = "01KAQ6M1T2X5RZ0W9V7B3C4D8E.1767225600000.mwsbovr2";
const TASK = {
  client_id: "shop",
  delay: 60,
  task: { url: "https://example.com/hook", body: { order: 4711 } },
};
const QUEUE = { queue: "mail" };
const CLIENT = { client_id: "shop" };

const EXAMPLES: Readonly<Record<string, object>> = {
  "/v1/enqueue": TASK,
  "/v1/enqueue/batch": { tasks: [TASK] },
  "/v1/tasks/:id": { delay: 3_600 },
  "/v1/queues/:queue/lease": { max: 1, lease_sec: 60, wait_sec: 10 },
  "/v1/leases/ack": { leases: [{ lease: LEASE, response: "3 pages" }] },
  "/v1/leases/nack": { leases: [{ lease: LEASE, error: "no ink" }] },
  "/v1/leases/extend": { leases: [LEASE], lease_sec: 60 },
  "/admin/clients/set": { ...CLIENT, tier: "premium" },
  "/admin/clients/delete": CLIENT,
  "/admin/clients/keys/create": { ...CLIENT, label: "web" },
  "/admin/clients/keys/revoke": { ...CLIENT, key_id: "5f0c1a9e" },
  "/admin/clients/secrets/create": CLIENT,
  "/admin/clients/secrets/revoke": { ...CLIENT, secret_id: "5f0c1a9e" },
  "/admin/tiers/set": { tier: "partner", requests_per_minute: 300, max_concurrent: null },
  "/admin/tiers/delete": { tier: "partner" },
  "/admin/queues/set": { ...QUEUE, max_dispatches_per_sec: 5 },
  "/admin/queues/pause": QUEUE,
  "/admin/queues/resume": QUEUE,
  "/admin/queues/purge": QUEUE,
  "/admin/queues/delete": QUEUE,
  "/admin/queues/secrets/create": QUEUE,
  "/admin/queues/secrets/revoke": { ...QUEUE, secret_id: "5f0c1a9e" },
  "/admin/dead/replay": { ...QUEUE, rate_per_sec: 5 },
  "/admin/dead/purge": { ...QUEUE, filter: CLIENT },
};

/** What to send to a path, with `:name` for a parameter; undefined where there is no example. */
export function exampleOf(path: string): object | undefined {
  return Object.hasOwn(EXAMPLES, path) ? EXAMPLES[path] : undefined;
}
