/** What no file of the repository may hold: where one developer's packages come from, and where their files lie. */

/** Host names that speak of a package registry or a mirror of one, real ones only: examples may be named so. */
const REGISTRY =
  /\b(?:[\w-]+\.)*(?:registry|npm|mirror|mirrors|artifactory|nexus|verdaccio)\.(?:[\w-]+\.)*(?:org|com|net|io|dev|cloud|local|internal|lan|corp)\b/gi;
const EXAMPLE = /(?:^|\.)example\.(?:com|org|net)$/i;
/** A setting that names a registry, as package managers read it. */
const REGISTRY_SETTING = /^[^\S\n]*(?:@[\w-]+:)?registry[^\S\n]*=/m;
const HOMES = /(?<![\w.~\-})*])\/(?:home|Users)\/[\w.-]+\/|(?<![\w.~\-})*])\/root\/|\b[A-Z]:\\+Users\\+/;
/** Where software is installed or run on every machine: a checkout there says nothing of its owner. */
const SHARED_PLACES = new Set([
  "usr",
  "opt",
  "app",
  "srv",
  "var",
  "tmp",
  "src",
  "home",
  "Users",
  "root",
  "mnt",
  "data",
]);

/** What is wrong with one file's text, in a repository that is checked out at `root`. */
export function leaksOf(path: string, text: string, root: string): string[] {
  const leaks: string[] = [];
  for (const [host] of text.matchAll(REGISTRY)) {
    if (!EXAMPLE.test(host)) leaks.push(`${path} names the registry host ${host}`);
  }
  if (REGISTRY_SETTING.test(text)) leaks.push(`${path} sets a registry`);
  const home = HOMES.exec(text);
  if (home !== null) leaks.push(`${path} holds a path of one machine: ${home[0]}`);
  const top = root.split("/")[1] ?? "";
  if (top !== "" && !SHARED_PLACES.has(top) && new RegExp(`(?<![\\w.~\\-})*])/${quote(top)}/`).test(text)) {
    leaks.push(`${path} holds a path of this machine: /${top}/…`);
  }
  return leaks;
}

function quote(text: string): string {
  return text.replace(/[^\w]/g, "\\$&");
}
