/** The Redis scripts under odd and wrong arguments, and on broken data. */

import { fuzzTests } from "./ci.ts";
import { fuzzScripts } from "./lua/part.ts";

fuzzTests("scripts", 250, (job) => fuzzScripts(job));
