/** Text from elsewhere made safe for a terminal. */

/** Turns control characters, which could steer a terminal, into spaces. */
export function plain(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}
