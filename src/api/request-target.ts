/** What a request asks for, whatever its Host header says: of a strange one, or none, the runtime makes no URL that can be parsed. */

const SLASH = 0x2f;
const FORM = /^(?:[a-z]+:\/\/[^/?#]*)?([^?#]*)(?:\?([^#]*))?/i;

export interface RequestTarget {
  readonly path: string;
  /** Without its question mark; empty for none. */
  readonly query: string;
}

/** Path and query as they were sent; never throws. */
export function requestTarget({ url }: Pick<Request, "url">): RequestTarget {
  const [, path = "", query = ""] = FORM.exec(url) ?? [];
  return { path, query };
}

/**
 * The request with a URL that begins with a host. Of one that names none, as HTTP/1.0 may do it, the URL is its bare
 * path, in which a router that steps over the host would begin to read too late.
 */
export function withHost(request: Request): Request {
  if (request.url.charCodeAt(0) !== SLASH) return request;
  return new Request(`http://localhost${request.url}`, request);
}
