/** A plugin that never comes to its end while it is loaded or opened does not hold up the start for ever. */

import { expect, test } from "bun:test";
import { loadPlugins, type ModuleHost } from "../../src/plugin/load.ts";
import { openPlugins } from "../../src/plugin/open.ts";

const never = () => new Promise<never>(() => {});
/** Time that is over as soon as it is asked for. */
const hasty = {
  after: (_delayMs: number, fire: () => void) => {
    queueMicrotask(fire);
    return () => {};
  },
};

test("a plugin that does not finish loading is told", async () => {
  const modules: ModuleHost = { isCompiled: false, provide: () => {}, load: never };
  const loading = loadPlugins([import.meta.path], { modules, clock: hasty, folder: "/" });
  await expect(loading).rejects.toThrow("did not finish loading within 10 s");
});

test("a factory that does not finish is told, and what other plugins had made is closed", async () => {
  const closed: string[] = [];
  const first = {
    name: "x",
    schemes: ["x:"],
    check: () => [],
    deliver: never,
    close: async () => {
      closed.push("x");
    },
  };
  const plugins = [
    { given: "./a.ts", plugin: { name: "a", apiVersion: 1 as const, transports: [first] }, options: {} },
    { given: "./b.ts", plugin: { name: "b", apiVersion: 1 as const, transports: never }, options: {} },
  ];
  const contextFor = () => {
    const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
    return { version: "1.2.3", allowPrivateUrls: false, logger: quiet };
  };
  const opening = openPlugins(plugins, { clock: hasty, builtIn: [], contextFor });
  await expect(opening).rejects.toThrow("plugin ./b.ts did not make its transports within 10 s");
  expect(closed).toEqual(["x"]);
});
