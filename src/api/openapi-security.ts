/** Says in the OpenAPI document which keys each route asks for, as this server is set up. */

import type { Access, ClientAuth } from "./identity.ts";

/** Which keys this server asks for. */
export interface Security {
  readonly clientAuth: ClientAuth;
  readonly adminKeySet: boolean;
}

const ADMIN_SCHEMES = {
  adminKey: {
    type: "apiKey",
    in: "header",
    name: "X-Admin-Key",
    description: "The key of whoever looks after the runner.",
  },
};

const CLIENT_SCHEMES = {
  clientKey: {
    type: "apiKey",
    in: "header",
    name: "X-API-Key",
    description: "A key of a client, trk.{client_id}.{secret}: opens this client's tasks and no others.",
  },
  clientBearer: { type: "http", scheme: "bearer", description: "The same key of a client." },
};

/** The kinds of keys that this server looks at. */
export function securitySchemes({ clientAuth, adminKeySet }: Security) {
  return { ...(adminKeySet && ADMIN_SCHEMES), ...(clientAuth !== "off" && CLIENT_SCHEMES) };
}

/** The keys of which one will do, an empty one among them where none is needed; none at all where none is looked at. */
export function keysFor(access: Access, { clientAuth, adminKeySet }: Security): Record<string, []>[] {
  if (access === "open" || (access === "task" && clientAuth === "off")) return [];
  const keys: Record<string, []>[] = adminKeySet ? [{ adminKey: [] }] : [];
  if (access === "admin" || clientAuth === "off") return keys;
  keys.push({ clientKey: [] }, { clientBearer: [] });
  const keyless = clientAuth === "optional" && (access === "task" || (access === "tasks" && !adminKeySet));
  return keyless ? [...keys, {}] : keys;
}
