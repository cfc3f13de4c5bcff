/** A bench process' end of its talk with the bench. */

/** The options it was started with; the bench and its processes are one program, so their shape is trusted. */
export function optionsOf<Options>(): Options {
  return JSON.parse(process.argv[2] ?? "null");
}

export function say(event: string, data: unknown = null): void {
  process.send?.({ event, data });
}

/** Calls `answer` each time the bench says `event`. */
export function on(event: string, answer: (data: unknown) => void): void {
  process.on("message", (message: { event: string; data: unknown }) => {
    if (message.event === event) answer(message.data);
  });
}

/** Ends this process, once `close` is done, when the bench tells it to stop. */
export function endOnStop(close: () => unknown = () => {}): void {
  on("stop", async () => {
    await close();
    process.exit();
  });
}

/** A wall clock with fractions of a millisecond, comparable between processes of one machine. */
export function preciseNowMs(): number {
  return performance.timeOrigin + performance.now();
}
