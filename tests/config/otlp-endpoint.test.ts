/** The collector's address: the forms it may be written in, and the URL that each of them means. */

import { describe, expect, test } from "bun:test";
import { tracesUrlOf } from "../../src/config/otlp-endpoint.ts";
import { loadConfig } from "./load.ts";

describe("the collector's address", () => {
  const meant: ReadonlyArray<readonly [string, string]> = [
    ["tracing.controlplane:4318", "http://tracing.controlplane:4318/v1/traces"],
    ["tracing.controlplane", "http://tracing.controlplane/v1/traces"],
    ["127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"],
    ["[::1]:4318", "http://[::1]:4318/v1/traces"],
    ["http://host:4318", "http://host:4318/v1/traces"],
    ["http://host:4318/", "http://host:4318/v1/traces"],
    ["https://host/v1/traces", "https://host/v1/traces"],
    ["https://host/v1/traces/", "https://host/v1/traces"],
    ["https://host/otlp", "https://host/otlp/v1/traces"],
    ["host:4318/v1/traces", "http://host:4318/v1/traces"],
  ];
  for (const [text, url] of meant) {
    test(`${text} means ${url}`, () => {
      expect(tracesUrlOf(text)).toBe(url);
    });
  }

  for (const text of [
    "grpc://host:4317",
    "http://",
    "host:notaport",
    "https://user:hunter2@host:4318",
    "https://host/v1/traces?token=hunter2",
    "two words",
  ]) {
    test(`${text} is none, and stops the start`, () => {
      const { problems, config } = loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: text });
      expect(problems.map(({ name }) => name)).toEqual(["OTEL_EXPORTER_OTLP_ENDPOINT"]);
      expect(config.OTEL_EXPORTER_OTLP_ENDPOINT).toBeUndefined();
    });
  }

  test("a wrong one that holds a login is not shown", () => {
    const { problems } = loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: "https://user:hunter2@host:4318" });
    expect(problems.map(({ line }) => line).join("\n")).not.toContain("hunter2");
  });
});
