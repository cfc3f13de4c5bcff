/** Who asks, and what he may do: the one place that knows which keys a route needs and whose tasks they open. */

import { TaskRunnerError } from "../core/errors.ts";
import type { ClientKeys } from "../service/client-keys.ts";
import { AdminKey } from "./admin-key.ts";
import type { WrongKeys } from "./wrong-keys.ts";

/**
 * Who may call a route. `open`: everyone, and no key is looked at. `task`: who knows a task's id, or hands one in.
 * `tasks`: who may list and change tasks. `leases`: who may take and tell of a pull queue's tasks, whosever they are;
 * with keys of clients its routes themselves refuse who shows none. `admin`: who may change settings, and see what is of
 * no client.
 */
export type Access = "open" | "task" | "tasks" | "leases" | "admin";

/** Whether clients have to show that they are who they say (CLIENT_AUTH). */
export type ClientAuth = "off" | "optional" | "required";

/** Who asks. */
export interface Caller {
  /** `admin`: holds the admin key. `client`: holds a client's key. `anyone`: showed none, or none is asked for. */
  readonly kind: "admin" | "client" | "anyone";
  /** The client whose key it is; null for the others. */
  readonly clientId: string | null;
  /** As the audit names him: the fingerprint of the admin key, or `open`. Never a key. */
  readonly actor: string;
  /** Whether the tasks of every client are open to him, so that {@link mayUse} need not be asked. */
  readonly seesAll: boolean;
  /** Whether he may hand in, see and change this client's tasks. Rejects as the store does where it has to be asked. */
  mayUse(clientId: string): boolean | Promise<boolean>;
}

export interface GateOptions {
  /** Null where none is set. */
  readonly adminKey: string | null;
  readonly clientAuth: ClientAuth;
  readonly keys: Pick<ClientKeys, "ownerOf" | "hasKeys">;
  readonly wrongKeys: WrongKeys;
}

/** Nobody was asked who he is. */
export const ANYONE: Caller = {
  kind: "anyone",
  clientId: null,
  actor: "open",
  seesAll: true,
  mayUse: () => true,
};

const BEARER = /^bearer +/i;

/** Lets requests in, or refuses them. */
export class Gate {
  readonly #clientAuth: ClientAuth;
  readonly #keys: GateOptions["keys"];
  readonly #wrongKeys: WrongKeys;
  readonly #adminKey: AdminKey | null;
  readonly #admin: Caller;
  /** Whoever shows no key where clients without keys need none. */
  readonly #keyless: Caller;

  constructor({ adminKey, clientAuth, keys, wrongKeys }: GateOptions) {
    this.#clientAuth = clientAuth;
    this.#keys = keys;
    this.#wrongKeys = wrongKeys;
    this.#adminKey = adminKey === null ? null : new AdminKey(adminKey);
    this.#admin = { ...ANYONE, kind: "admin", actor: this.#adminKey?.actor ?? "open" };
    this.#keyless = {
      ...ANYONE,
      seesAll: false,
      mayUse: async (clientId) => !(await keys.hasKeys(clientId)),
    };
  }

  /**
   * Who a request comes from. Answers at once where no key has to be looked up. Throws or rejects with `unauthorized`,
   * after a while once wrong keys have come often, with `too_many_attempts`, or as the store does.
   */
  admit(request: Request, access: Access): Caller | Promise<Caller> {
    if (access === "open") return ANYONE;
    if (this.#clientAuth === "off") return access === "task" ? ANYONE : this.#admitAdmin(request);
    const adminKey = this.#adminKey;
    if (access === "admin" || (adminKey !== null && request.headers.has(AdminKey.HEADER))) {
      return this.#admitAdmin(request);
    }
    const key = clientKeyOf(request);
    if (key !== null) return this.#admitClient(request, key);
    // Where keys are optional, a client without any is as free as where none is looked at.
    const needsKey = this.#clientAuth === "required" || (access === "tasks" && adminKey !== null);
    if (needsKey) throw unauthorized(adminKey === null ? CLIENT_KEY_NEEDED : EITHER_KEY_NEEDED);
    return this.#keyless;
  }

  #admitAdmin(request: Request): Caller | Promise<Caller> {
    if (this.#adminKey === null) return this.#admin;
    const given = request.headers.get(AdminKey.HEADER);
    if (given === null) throw unauthorized(ADMIN_KEY_NEEDED);
    return this.#adminKey.isRight(given) ? this.#admin : this.#refuse(request, "The admin key is wrong.");
  }

  async #admitClient(request: Request, key: string): Promise<Caller> {
    const clientId = await this.#keys.ownerOf(key);
    if (clientId === null) return this.#refuse(request, "The client key is wrong, or was revoked.");
    return {
      kind: "client",
      clientId,
      actor: "open",
      seesAll: false,
      mayUse: (asked) => asked === clientId,
    };
  }

  async #refuse(request: Request, detail: string): Promise<never> {
    await this.#wrongKeys.slowDown(request);
    throw unauthorized(detail);
  }
}

const ADMIN_KEY_NEEDED = "This needs the admin key in the header X-Admin-Key.";
const CLIENT_KEY_NEEDED =
  'This needs a key of the client, as "Authorization: Bearer …" or in the header X-API-Key.';
const EITHER_KEY_NEEDED =
  'This needs a key of the client, as "Authorization: Bearer …" or in the header X-API-Key, or the admin key in X-Admin-Key.';

/** The client key that a request shows; null when it shows none. */
function clientKeyOf({ headers }: Request): string | null {
  const plain = headers.get("x-api-key");
  if (plain !== null) return plain;
  const authorization = headers.get("authorization");
  if (authorization === null || !BEARER.test(authorization)) return null;
  return authorization.replace(BEARER, "");
}

function unauthorized(detail: string): TaskRunnerError {
  return new TaskRunnerError("unauthorized", detail);
}

/** The error of a caller who asks for what is another client's. */
export function refusalOf(caller: Caller, clientId: string): TaskRunnerError {
  return caller.kind === "client"
    ? new TaskRunnerError(
        "forbidden",
        `This key is client "${caller.clientId}"'s: it opens nothing of "${clientId}".`,
      )
    : new TaskRunnerError(
        "unauthorized",
        `Client "${clientId}" has keys: present one of them as "Authorization: Bearer …" or in the header X-API-Key.`,
      );
}
