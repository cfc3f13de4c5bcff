/** What a route is: the one description from which the server dispatches and the OpenAPI document is written. */

import type { TSchema } from "@sinclair/typebox";
import type { Access, Caller } from "./identity.ts";

export type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** One request as a route sees it. */
export interface Call {
  readonly request: Request;
  /** The path's parameters, decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** Who asks, as far as the route's access needs to know. */
  readonly caller: Caller;
}

/** What a route answers; the server adds what every answer carries. */
export interface Answer {
  readonly status: number;
  /** Serialised JSON. */
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A schema of one media type, for the document. */
export interface MediaType {
  readonly type: string;
  readonly schema: TSchema;
}

export interface RouteAnswer {
  readonly description: string;
  /** Its media type, application/json unless told. */
  readonly type?: string;
  readonly schema: TSchema;
  /** Headers beside those that every answer has, with what they mean. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Route {
  readonly method: Method;
  /** With `:name` for a parameter. */
  readonly path: string;
  readonly summary: string;
  /** Who may call it. */
  readonly access: Access;
  readonly body?: readonly MediaType[];
  /** An object schema, one property per query parameter. */
  readonly query?: TSchema;
  /** Request headers it looks at, with what they mean. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly answers: Readonly<Record<number, RouteAnswer>>;
  /** Statuses of the problems it may answer with. */
  readonly problems: readonly number[];
  /** May throw a TaskRunnerError, which becomes a problem. */
  handle(call: Call): Answer | Promise<Answer>;
}

/** An answer of a value as JSON. */
export function json(status: number, value: unknown, headers: Answer["headers"] | null = null): Answer {
  const body = JSON.stringify(value);
  return headers === null ? { status, body } : { status, body, headers };
}
