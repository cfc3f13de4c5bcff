/** Who may list and change tasks: holders of ADMIN_API_KEY, or everyone where none is set. */

import { createHash, timingSafeEqual } from "node:crypto";
import { TaskRunnerError } from "../core/errors.ts";

/** Makes a guard that throws `unauthorized` for a request without the key. With `adminKey` null all pass. */
export function adminGuard(adminKey: string | null): (request: Request) => void {
  if (adminKey === null) return () => {};
  const expected = digest(adminKey);
  return (request) => {
    const given = request.headers.get("x-admin-key");
    // Digests are of one length, so that the comparison tells nothing of the key's, either.
    if (given !== null && timingSafeEqual(digest(given), expected)) return;
    throw new TaskRunnerError(
      "unauthorized",
      given === null ? "This needs the admin key in the header X-Admin-Key." : "The admin key is wrong.",
    );
  };
}

function digest(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}
