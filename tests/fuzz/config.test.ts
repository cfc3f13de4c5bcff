/** The settings under any environment. */

import { fuzzTests } from "./ci.ts";
import { fuzzConfig } from "./config.ts";

fuzzTests("config", 200, (job) => fuzzConfig(job));
