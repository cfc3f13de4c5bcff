/** The bench counts right only if it cuts streams of bytes into messages right. */

import { describe, expect, test } from "bun:test";
import { MessageReader, postBytes, statusOf } from "../../bench/http-framing.ts";

function messagesOf(chunks: readonly Buffer[]): { text: string; body: string }[] {
  const messages: { text: string; body: string }[] = [];
  const reader = new MessageReader((message, bodyStart) => {
    messages.push({ text: message.toString(), body: message.toString("utf8", bodyStart) });
  });
  for (const chunk of chunks) reader.push(chunk);
  return messages;
}

const RESPONSE = Buffer.from("HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nDate: now\r\n\r\nhello");

describe("MessageReader", () => {
  test("finds a message wherever the stream is cut", () => {
    for (let cut = 1; cut < RESPONSE.length; cut++) {
      const messages = messagesOf([RESPONSE.subarray(0, cut), RESPONSE.subarray(cut)]);
      expect(messages).toEqual([{ text: RESPONSE.toString(), body: "hello" }]);
    }
  });

  test("finds every message of one chunk, and the one that continues in the next", () => {
    const stream = Buffer.concat([RESPONSE, RESPONSE, RESPONSE]);
    const messages = messagesOf([stream.subarray(0, -3), stream.subarray(-3)]);
    expect(messages.map(({ body }) => body)).toEqual(["hello", "hello", "hello"]);
  });

  test("keeps what it waits with when the chunk's memory is used again", () => {
    const bodies: string[] = [];
    const reader = new MessageReader((message, bodyStart) =>
      bodies.push(message.toString("utf8", bodyStart)),
    );
    const chunk = Buffer.from(RESPONSE.subarray(0, -2));
    reader.push(chunk);
    chunk.fill(0);
    reader.push(Buffer.from("lo"));
    expect(bodies).toEqual(["hello"]);
  });

  test("reads a length in any case and takes a message without one for empty", () => {
    const lower = Buffer.from("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    const empty = Buffer.from("HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n");
    expect(messagesOf([Buffer.concat([empty, lower])]).map(({ body }) => body)).toEqual(["", "ok"]);
  });

  test("does not take a length written in a body for the message's own", () => {
    const body = "\r\nContent-Length: 9\r\n\r\n";
    const tricky = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    expect(messagesOf([tricky, RESPONSE]).map((message) => message.body)).toEqual([body, "hello"]);
  });

  test("refuses a body whose length is not stated, for it would count wrong", () => {
    const chunked = Buffer.from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect(() => messagesOf([chunked])).toThrow("stated length");
  });
});

test("statusOf reads the first line", () => {
  expect(statusOf(RESPONSE)).toBe(202);
});

test("postBytes states the length in bytes, not in characters", async () => {
  const [message] = messagesOf([postBytes(8080, "/v1/enqueue", "ü")]);
  expect(message?.body).toBe("ü");
  expect(message?.text).toContain("Content-Length: 2\r\n");
});
