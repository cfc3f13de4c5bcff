/** The server under bytes that no client sends. */

import { fuzzTests } from "./ci.ts";
import { fuzzSockets } from "./sockets.ts";

fuzzTests("sockets", 120, (job) => fuzzSockets(job));
