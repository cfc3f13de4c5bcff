/** Certificates for targets of tests, made by openssl. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TargetTls } from "../support/target.ts";

/** A self-signed certificate for one name, trusted by whoever is given its path. */
export function certificateFor(
  directory: string,
  name: string,
  subjectAltName: string,
): TargetTls & { readonly path: string } {
  const key = join(directory, `${name}.key`);
  const path = join(directory, `${name}.pem`);
  const args = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" ");
  execFileSync(
    "openssl",
    [
      ...args,
      "-keyout",
      key,
      "-out",
      path,
      "-subj",
      `/CN=${name}`,
      "-addext",
      `subjectAltName=${subjectAltName}`,
    ],
    { stdio: "ignore" },
  );
  return { path, cert: readFileSync(path, "utf8"), key: readFileSync(key, "utf8") };
}
