/** The lengths of texts are those of the OpenAPI document: characters, whatever UTF-16 makes of them. */

import { expect, test } from "bun:test";
import { type TSchema, Type } from "@sinclair/typebox";
import { compile } from "../../src/api/validate.ts";
import { LabelSchema } from "../../src/service/client-settings.ts";
import { EnqueueRequestSchema } from "../../src/service/enqueue-request.ts";
import { enqueueBody } from "./support.ts";

const fits = (schema: TSchema, value: unknown) => compile(schema).fits(value);

test("a text may be as long as its schema says, counted in characters", () => {
  const key = (text: string) => fits(EnqueueRequestSchema, enqueueBody({ ordering_key: text }));
  for (const character of ["a", "é", "😀"]) {
    expect(key(character.repeat(256))).toBe(true);
    expect(key(character.repeat(257))).toBe(false);
    expect(fits(LabelSchema, character.repeat(100))).toBe(true);
    expect(fits(LabelSchema, character.repeat(101))).toBe(false);
  }
});

test("a text may be as short as its schema says, and keeps to its pattern", () => {
  const schema = Type.String({ minLength: 2, maxLength: 3, pattern: "^[^x]+$" });
  expect(
    ["", "😀", "a", "😀😀", "ab", "😀b😀", "abcd", "ax", 5, null].map((value) => fits(schema, value)),
  ).toEqual([...[false, false, false, true, true, true, false, false, false, false]]);
});

test("what is wrong with such a text is told as of any other", () => {
  const { problems } = compile(EnqueueRequestSchema);
  expect(problems(enqueueBody({ ordering_key: "😀".repeat(257) }))).toEqual([
    { path: "ordering_key", message: "must be 1 to 256 characters without control characters" },
  ]);
  expect(problems(enqueueBody({ callback_url: "" }))).toMatchObject([{ path: "callback_url" }]);
});
