/** bunqueue with its embedded store as its documents advise, jobs durable; queue and worker live in our processes. */

import { join } from "node:path";
import type { BunqueueOptions } from "../processes/bunqueue.ts";
import type { Helper, Room } from "../room.ts";

export interface BunqueueServer {
  readonly pid: number;
  readonly port: number;
  readonly url: string;
  stop(): Promise<void>;
}

function dataPath(room: Room): string {
  return join(room.dir, "bunqueue.db");
}

export async function startBunqueueServer(room: Room): Promise<BunqueueServer> {
  const options: BunqueueOptions = { dataPath: dataPath(room) };
  const helper = await room.startHelper("bunqueue-serve", options);
  const port = Number(await helper.event("ready"));
  return { pid: helper.pid, port, url: `http://127.0.0.1:${port}`, stop: () => helper.stop() };
}

export async function startBunqueueWorker(room: Room, concurrency: number): Promise<Helper> {
  const options: BunqueueOptions = { dataPath: dataPath(room), concurrency };
  const helper = await room.startHelper("bunqueue-work", options);
  await helper.event("ready");
  return helper;
}
