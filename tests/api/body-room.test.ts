/** What many large requests at once may take of memory is bounded, and what is refused gives its room back. */

import { expect, test } from "bun:test";
import { BodyRoom } from "../../src/api/body-room.ts";

const LARGEST = 256 * 1024;
const SMALL = 64 * 1024;

function requestOf(bytes: number, stated = true): Request {
  return new Request("http://localhost/", {
    method: "POST",
    body: "x".repeat(bytes),
    ...(stated && { headers: { "content-length": String(bytes) } }),
  });
}

/** A room, and what reads a body in it and holds it until told otherwise. */
function heldRoom() {
  const room = new BodyRoom(LARGEST);
  const gate = Promise.withResolvers<void>();
  const sizes = (request: Request) => room.withText(request, LARGEST, (text) => text.length);
  const hold = async (request: Request) => {
    const read = Promise.withResolvers<void>();
    const size = room.withText(request, LARGEST, async (text) => {
      read.resolve();
      await gate.promise;
      return text.length;
    });
    await Promise.race([read.promise, size]);
    return { size };
  };
  return { sizes, hold, gate };
}

test("large bodies are refused while half of the room is taken, small ones until all is, and later both are taken", async () => {
  const { sizes, hold, gate } = heldRoom();
  const held = [
    await hold(requestOf(LARGEST)),
    await hold(requestOf(LARGEST, false)),
    await hold(requestOf(LARGEST)),
  ];
  for (const stated of [true, false]) {
    await expect(sizes(requestOf(LARGEST, stated))).rejects.toMatchObject({
      code: "overloaded",
      retryAfterSec: 1,
    });
  }
  for (let small = 0; small < LARGEST / SMALL; small++) held.push(await hold(requestOf(SMALL)));
  await expect(sizes(requestOf(1))).rejects.toMatchObject({ code: "overloaded" });
  gate.resolve();
  const large = [LARGEST, LARGEST, LARGEST];
  expect(await Promise.all(held.map(({ size }) => size))).toEqual([...large, ...Array(4).fill(SMALL)]);
  expect(await sizes(requestOf(LARGEST))).toBe(LARGEST);
});

test("what could not be read gives its room back", async () => {
  const { sizes } = heldRoom();
  for (let times = 0; times < 20; times++) {
    await expect(sizes(requestOf(LARGEST + 1, false))).rejects.toMatchObject({ code: "payload_too_large" });
  }
  expect(await sizes(requestOf(LARGEST))).toBe(LARGEST);
});
