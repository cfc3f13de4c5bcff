/** The HTTP API as its own document tells of it, under generated requests. */

import { fuzzTests } from "./ci.ts";
import { fuzzHttp } from "./http/part.ts";

fuzzTests("http", 350, (job, isFixed) => fuzzHttp(job, { redis: !isFixed }));
