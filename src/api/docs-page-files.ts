/** Reads the files of Swagger UI when they are asked for: out of the compiled program, or its package where sources run. */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** What a file is imported as: where it lies, which inside of a compiled program is a place in it. */
interface Imported {
  readonly default: string;
}

const FILES = {
  script: {
    // Named here in full, for so the compiler finds what to put into the program.
    embedded: () => import("swagger-ui-dist/swagger-ui-bundle.js", { with: { type: "file" } }),
    inPackage: () => import.meta.resolve("swagger-ui-dist/swagger-ui-bundle.js"),
  },
  style: {
    embedded: () => import("swagger-ui-dist/swagger-ui.css", { with: { type: "file" } }),
    inPackage: () => import.meta.resolve("swagger-ui-dist/swagger-ui.css"),
  },
} as const satisfies Record<string, { embedded(): Promise<Imported>; inPackage(): string }>;

/** Read anew each time: a page is rarely opened, and its files are too large to be kept for that. */
export async function readPageFile(name: keyof typeof FILES): Promise<string> {
  return readFile(await placeOf(FILES[name]), "utf8");
}

async function placeOf({ embedded, inPackage }: (typeof FILES)[keyof typeof FILES]): Promise<string> {
  try {
    return (await embedded()).default;
  } catch (thrown) {
    // A runtime that knows no imports of files runs the sources, beside their packages.
    if (thrown instanceof TypeError) return fileURLToPath(inPackage());
    throw thrown;
  }
}
