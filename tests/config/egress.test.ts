/** The settings of the way out: blocks that are read in one way only, and a proxy whose login is never shown. */

import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asksWorkers, egressOf, reachesPrivate } from "../../src/app/egress.ts";
import { cidrsIn, type SettingName, shownValue } from "../../src/config.ts";
import { loadConfig } from "./load.ts";

const CIDR_SETTINGS = ["EGRESS_ALLOW_CIDRS", "EGRESS_DENY_CIDRS"] as const satisfies readonly SettingName[];

describe.each(CIDR_SETTINGS)("%s", (name) => {
  test.each([
    ["10.0.0.0/8", ["10.0.0.0/8"]],
    [" 10.0.0.0/8 , fd00::/8,", ["10.0.0.0/8", "fd00::/8"]],
    ["10.1.2.3,::1", ["10.1.2.3/32", "::1/128"]],
    ["0.0.0.0/0,::/0", ["0.0.0.0/0", "::/0"]],
    ["::ffff:10.0.0.0/104", ["::ffff:10.0.0.0/104"]],
  ])("takes %s", (text, blocks) => {
    const { config, problems } = loadConfig({ [name]: text });
    expect(problems).toEqual([]);
    expect(cidrsIn(config[name] ?? "")).toEqual(blocks);
  });

  test.each([
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/08",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "10/8",
    "010.0.0.0/8",
    "0x0a.0.0.0/8",
    "167772160/8",
    "fd00::/129",
    "fe80::1%eth0/64",
    "example.com",
    "10.0.0.0-10.0.0.9",
    "all",
  ])("refuses the start for %s, and names it among good ones", (wrong) => {
    const { problems } = loadConfig({ [name]: `192.168.0.0/16,${wrong},fd00::/8` });
    expect(problems.map((problem) => problem.name)).toEqual([name]);
    expect(problems[0]?.line).toContain(
      `${name}=${JSON.stringify(wrong)} is not allowed: blocks of addresses`,
    );
  });

  test("refuses a list without an entry, which somebody meant to mean something", () => {
    expect(loadConfig({ [name]: ", ," }).problems.map((problem) => problem.name)).toEqual([name]);
  });

  test("is unset by default", () => expect(loadConfig({}).config[name]).toBeUndefined());
});

describe("EGRESS_PROXY_URL", () => {
  test.each([
    "http://proxy.example:3128",
    "http://proxy.example:3128/",
    "http://10.0.0.1",
    "http://[fd00::1]:8080",
    "http://user:pa%3Ass%40@proxy:3128",
    "http://user@proxy",
  ])("takes %s, and never shows it", (text) => {
    const { config, problems } = loadConfig({ EGRESS_PROXY_URL: text });
    expect(problems).toEqual([]);
    expect(config.EGRESS_PROXY_URL).toBe(text);
    expect(shownValue(config, "EGRESS_PROXY_URL")).toBe("(hidden)");
  });

  test.each([
    "proxy.example:3128",
    "https://proxy.example:3128",
    "socks5://proxy.example:1080",
    "http://proxy.example:0",
    "http://proxy.example:3128/path",
    "http://proxy.example:3128/?s3cret",
    "http://proxy.example/#s3cret",
    "http://us%3Aer:s3cret@proxy.example",
    "http://user:s3cret%0a@proxy.example",
    "http://user:s3cret%zz@proxy.example",
    "http://user:s3 cret@proxy.example",
    "http://",
  ])("refuses %s without repeating it", (text) => {
    const { problems } = loadConfig({ EGRESS_PROXY_URL: text });
    expect(problems.map((problem) => problem.name)).toEqual(["EGRESS_PROXY_URL"]);
    expect(problems[0]?.line).not.toContain("s3cret");
    expect(problems[0]?.line).toContain("http://[user:password@]host:port");
  });

  test("may come from a file", () => {
    const path = join(tmpdir(), `egress-proxy-${process.pid}`);
    writeFileSync(path, "http://user:s3cret@proxy:3128\n");
    const { config, sources, problems } = loadConfig({ EGRESS_PROXY_URL_FILE: path });
    expect(problems).toEqual([]);
    expect(config.EGRESS_PROXY_URL).toBe("http://user:s3cret@proxy:3128");
    expect(sources.EGRESS_PROXY_URL).toBe(`file ${path}`);
  });
});

test("nothing of the way out is a name without effect any more", () => {
  const env = {
    EGRESS_ALLOW_CIDRS: "10.0.0.0/8",
    EGRESS_DENY_CIDRS: "10.1.0.0/16",
    EGRESS_PROXY_URL: "http://p",
  };
  const { problems, warnings } = loadConfig(env);
  expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
});

describe("what the settings make of the guard", () => {
  const configOf = (env: Record<string, string>) => loadConfig(env).config;

  test("is closed unless something is opened", () => {
    const closed = egressOf(configOf({}));
    expect(closed).toEqual({ allowPrivate: false, allowCidrs: [], denyCidrs: [], proxyUrl: null });
    expect(reachesPrivate(closed)).toBe(false);
    expect(reachesPrivate(egressOf(configOf({ EGRESS_DENY_CIDRS: "10.0.0.0/8" })))).toBe(false);
    expect(reachesPrivate(egressOf(configOf({ EGRESS_ALLOW_CIDRS: "10.0.0.0/8" })))).toBe(true);
    expect(reachesPrivate(egressOf(configOf({ ALLOW_PRIVATE_URLS: "true" })))).toBe(true);
  });

  test("a serve that is told nothing asks the workers, one that is told anything does not, nor does an all", () => {
    expect(asksWorkers("serve", configOf({ EGRESS_PROXY_URL: "http://p" }))).toBe(true);
    expect(asksWorkers("all", configOf({}))).toBe(false);
    for (const [name, text] of [
      ["ALLOW_PRIVATE_URLS", "false"],
      ["EGRESS_ALLOW_CIDRS", "10.0.0.0/8"],
      ["EGRESS_DENY_CIDRS", "10.0.0.0/8"],
    ] as const) {
      expect(asksWorkers("serve", configOf({ [name]: text }))).toBe(false);
    }
  });
});
