/** Plugins of broken shapes and transports that break their contract. */

import { fuzzTests } from "./ci.ts";
import { fuzzPlugins } from "./plugins.ts";

fuzzTests("plugins", 500, (job) => fuzzPlugins(job, { hanging: false }));
