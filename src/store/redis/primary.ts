/** Where the primary is: a fixed address, or whatever Sentinel says. */

import type { HostPort } from "./address.ts";

export interface PrimaryLocator {
  /** Resolves with the primary's address; rejects with a LinkError when nobody can tell, within seconds. */
  locate(): Promise<HostPort>;
  /**
   * Calls `listener` when the primary is known to be elsewhere from now on, or, with null, about to be, until the
   * returned function is called.
   */
  onMoved(listener: (to: HostPort | null) => void): () => void;
  /**
   * Whether the server there is the primary and is not being replaced, asked after this call. A primary that
   * stood still long enough may be deposed without knowing it, and replicas may go on confirming what it writes.
   */
  vouch(address: HostPort): Promise<boolean>;
  /** Looks more often, until the returned function is called: for as long as a connection is missing. */
  hurry(): () => void;
  /** Says how it goes in the log from now on; before, whoever waits for the first connection tells. */
  announce(): void;
  close(): void;
}

/** The primary of a set-up without Sentinel. */
export function fixedPrimary({ host, port }: HostPort): PrimaryLocator {
  const nothing = () => {};
  return {
    locate: () => Promise.resolve({ host, port }),
    onMoved: () => nothing,
    vouch: () => Promise.resolve(true),
    hurry: () => nothing,
    announce: nothing,
    close: nothing,
  };
}

export function sameAddress(a: HostPort, b: HostPort): boolean {
  return a.host === b.host && a.port === b.port;
}
