/** Runs a program of the system to its end, for what only those can do. */

const LONGEST_MS = 60_000;

/** What it printed; rejects with what it said when it fails. */
export async function run(...argv: string[]): Promise<string> {
  const child = Bun.spawn(argv, {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: LONGEST_MS,
    killSignal: "SIGKILL",
  });
  const [said, complained, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw new Error(`${argv.join(" ")} ended with status ${status}: ${complained.trim()}`);
  return said;
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
