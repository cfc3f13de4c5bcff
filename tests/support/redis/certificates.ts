/** Certificates for a test's own servers, from an authority that exists for that test alone. */

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** What a server needs to speak TLS. */
export interface ServerTls {
  /** Of the authority, for whoever is to trust the server. */
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface CertificateAuthority {
  readonly caFile: string;
  /** A certificate for these names, as openssl writes them: `DNS:localhost`, `IP:127.0.0.1`. */
  issue(names: readonly [string, ...string[]]): Promise<ServerTls>;
  /** Removes its files. */
  remove(): Promise<void>;
}

const run = promisify(execFile);
/** Made in a moment, unlike RSA keys. */
const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
const VALID = ["-days", "2"];

/** Makes an authority with openssl, which Debian has in the package of that name. */
export async function createAuthority(): Promise<CertificateAuthority> {
  const dir = await mkdtemp(join(tmpdir(), "task-runner-tls-"));
  const caFile = join(dir, "ca.crt");
  const caKey = join(dir, "ca.key");
  const subject = ["-subj", "/CN=Task Runner test authority"];
  await run("openssl", ["req", "-x509", ...KEY, ...VALID, ...subject, "-keyout", caKey, "-out", caFile]);
  let issued = 0;
  return {
    caFile,
    issue: async (names) => {
      issued += 1;
      const file = (ending: string) => join(dir, `server-${issued}.${ending}`);
      const [certFile, keyFile, request, extensions] = [file("crt"), file("key"), file("csr"), file("ext")];
      await writeFile(extensions, `subjectAltName=${names.join(",")}\n`);
      await run("openssl", ["req", ...KEY, "-subj", "/CN=server", "-keyout", keyFile, "-out", request]);
      const signer = ["-CA", caFile, "-CAkey", caKey, "-CAcreateserial", "-extfile", extensions];
      await run("openssl", ["x509", "-req", "-in", request, ...signer, ...VALID, "-out", certFile]);
      return { caFile, certFile, keyFile };
    },
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

/** The lines of redis.conf that say where to listen: in clear, or with TLS alone, towards other servers too. */
export function listenLines(port: number, tls: ServerTls | undefined): string[] {
  if (tls === undefined) return [`port ${port}`];
  return [
    "port 0",
    `tls-port ${port}`,
    `tls-cert-file "${tls.certFile}"`,
    `tls-key-file "${tls.keyFile}"`,
    `tls-ca-cert-file "${tls.caFile}"`,
    "tls-auth-clients no",
    "tls-replication yes",
  ];
}
