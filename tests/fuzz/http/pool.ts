/** Things that are there by now, so that requests can be of them: a marker in a request stands for one of them. */

const MARKER = /@@(task|lease|key|secret|cursor)(\d+)@@/g;
/** Of each kind the latest so many are remembered. */
const MOST = 40;

export type Kind = "task" | "lease" | "key" | "secret" | "cursor";

/** What is written in place of the `at`th thing of a kind. */
export function marker(kind: Kind, at: number): string {
  return `@@${kind}${at}@@`;
}

export class Pool {
  readonly #things: Record<Kind, string[]> = { task: [], lease: [], key: [], secret: [], cursor: [] };

  /** Fills in every marker; one whose kind has nothing yet becomes a word that is nothing's. */
  fill(text: string): string {
    return text.replace(MARKER, (_, kind: Kind, at: string) => {
      const things = this.#things[kind];
      return things[Number(at) % Math.max(1, things.length)] ?? "nothing-yet";
    });
  }

  /** Remembers what an answer tells of. */
  learn(answer: unknown): void {
    if (Array.isArray(answer)) for (const part of answer.slice(0, MOST)) this.learn(part);
    else if (typeof answer === "object" && answer !== null) {
      for (const [name, value] of Object.entries(answer)) {
        if (name === "task_id") this.#add("task", value);
        else if (name === "lease" && typeof value === "string") this.#add("lease", value);
        else if (name === "key_id") this.#add("key", value);
        else if (name === "secret_id") this.#add("secret", value);
        else if (name === "next_cursor") this.#add("cursor", value);
        else this.learn(value);
      }
    }
  }

  #add(kind: Kind, value: unknown): void {
    if (typeof value !== "string") return;
    const things = this.#things[kind];
    things.push(value);
    if (things.length > MOST) things.shift();
  }
}
