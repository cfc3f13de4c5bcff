/** What every contestant is given to carry, so that all carry the same. */

/** A task's body of 133 bytes. */
export const PAYLOAD = JSON.stringify({
  order: "4711-081",
  customer: "c_01HZX5J8Q2",
  event: "invoice.created",
  amount: 129.9,
  currency: "EUR",
  lines: 3,
  region: "eu-west",
});

/** A public name, never resolved: tasks for it are only stored, not delivered. */
export const NOWHERE = "https://hooks.example.com/orders";

export const ENQUEUE_PATH = "/v1/enqueue";
export const BATCH_PATH = "/v1/enqueue/batch";

/** Body of an enqueue request for one task. `more` are fields beside the task's own. */
export function enqueueBody(
  url: string,
  body: string = PAYLOAD,
  more: Readonly<Record<string, unknown>> = {},
): string {
  return JSON.stringify(enqueueRequest(url, body, more));
}

export function enqueueRequest(
  url: string,
  body: string = PAYLOAD,
  more: Readonly<Record<string, unknown>> = {},
) {
  return {
    client_id: "bench",
    task: { url, headers: { "content-type": "application/json" }, body },
    ...more,
  };
}
