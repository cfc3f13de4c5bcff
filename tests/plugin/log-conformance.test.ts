/** Runs the log example's own test, which is the one that docs/plugins.md shows. */

import "../../examples/log-transport/plugin.test.ts";
