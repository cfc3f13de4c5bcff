/** The client: what a program needs to hand tasks to Task Runner and to look after them. It imports nothing but itself. */

export type { Clients, DeadLetters, Queues, Tiers } from "./admin.ts";
export type { CallOptions, ClientOptions } from "./call.ts";
export { type EnqueueOptions, TaskRunner } from "./client.ts";
export { ApiError, type FailureCode } from "./error.ts";
export type { Pull } from "./pull.ts";
export type * from "./shapes.ts";
export type { Tasks, WaitOptions } from "./tasks.ts";
