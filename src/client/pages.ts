/** Walks through the pages of a list, asking for each when it is reached. */

/** What follows a page, as it is asked for; nothing for the first. */
export type Next = { readonly cursor?: string };

export async function* itemsOf<P extends { readonly next_cursor: string | null }, T>(
  pageAt: (next: Next) => Promise<P>,
  items: (page: P) => readonly T[],
): AsyncGenerator<T, void, undefined> {
  let next: Next | null = {};
  while (next !== null) {
    const page: P = await pageAt(next);
    yield* items(page);
    next = page.next_cursor === null ? null : { cursor: page.next_cursor };
  }
}
