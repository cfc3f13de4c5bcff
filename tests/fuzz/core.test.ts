/** Backoffs, times, targets and codecs by their properties. */

import { fuzzTests } from "./ci.ts";
import { fuzzCore } from "./core.ts";

fuzzTests("core", 4_000, (job) => fuzzCore(job));
