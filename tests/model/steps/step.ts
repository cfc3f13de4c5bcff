/** What every step has in common: it acts on the store and on the model, and then everything is looked at. */

import type fc from "fast-check";
import type { TaskStore } from "../../../src/core/store.ts";
import { look } from "../look.ts";
import type { QueueModel } from "../model.ts";
import type { World } from "../world.ts";

export interface Step extends fc.AsyncCommand<QueueModel, World> {
  /** Without the look at everything. */
  act(model: QueueModel, world: World): Promise<void>;
}

/** What a step is made of: everything that its arbitraries have chosen, so that its text tells all of it. */
export interface Chosen {
  readonly via: number;
}

export interface Scene {
  readonly model: QueueModel;
  readonly store: TaskStore;
  readonly world: World;
  readonly nowMs: number;
}

/** Makes a kind of step. `may` says whether it makes sense as things stand. */
export function step<C extends Chosen>(
  name: string,
  act: (chosen: C, scene: Scene) => Promise<void>,
  may: (chosen: C, model: QueueModel) => boolean = () => true,
): (chosen: C) => Step {
  return (chosen) => {
    const actIn = (model: QueueModel, world: World) =>
      act(chosen, { model, world, store: world.store(chosen.via), nowMs: world.nowMs });
    return {
      check: (model) => may(chosen, model as QueueModel),
      act: actIn,
      run: async (model, world) => {
        await actIn(model, world);
        // Through the other handle: what it shows must not be what the first remembers.
        await look(model, world.store(chosen.via + 1), world.nowMs);
      },
      toString: () => `${name}(${JSON.stringify(chosen)})`,
    };
  };
}
