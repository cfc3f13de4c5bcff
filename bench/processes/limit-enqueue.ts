/** The limit of enqueueing on this machine: the same routes over the same schemas, which keep nothing. */

import { say } from "./messages.ts";
import { serveRoutes } from "./routes.ts";

const ID = "00000000000000000000000000";

say("ready", serveRoutes({ one: () => ID, many: (requests) => requests.map(() => ID) }));
