/** The first thing a figure must stand up to: what was acknowledged is there. */

/** Throws when fewer tasks are kept than were acknowledged. More may be: the last answers were not waited for. */
export function assertKept(kept: number, acknowledged: number): void {
  if (kept < acknowledged) throw new Error(`${acknowledged} tasks were acknowledged, ${kept} are kept`);
}
