/** The id that every answer carries, so that a caller's log and ours can be laid side by side. */

const VISIBLE_ASCII = /^[\x21-\x7e]{1,128}$/;

/** Makes a function that takes over a request's own `X-Request-Id`, or makes one where it has none of use. */
export function requestIds(): (request: Request) => string {
  // Random once and counted from there: unique without drawing randomness for every request.
  const process = crypto.randomUUID().slice(0, 13);
  let made = 0;
  return (request) => {
    const given = request.headers.get("x-request-id");
    return given !== null && VISIBLE_ASCII.test(given) ? given : `${process}-${(made++).toString(36)}`;
  };
}
