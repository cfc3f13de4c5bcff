/** The version of this build, taken from package.json so that it is said in one place. */

import packageJson from "../package.json" with { type: "json" };

export const VERSION: string = packageJson.version;
