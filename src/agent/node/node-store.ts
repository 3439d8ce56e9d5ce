import path from "node:path";
import { faultPoint } from "../../lib/process/fault.ts";
import { readIfThere, removeLeft, writeFileAtomic } from "../../lib/disk/files.ts";
import { nodeStateText, readNodeState } from "../../trust/node/node-state-file.ts";
import type { NodeState, Outcome, Step } from "../../trust/node/node-state.ts";
import type { WriteFile } from "./reserve.ts";

/** The node's state on disk. What a change returns is durable before it resolves, so that it may be acted on. */
export interface NodeStore {
  readonly state: NodeState;
  /**
   * Applies steps one after the other and writes the result once. Changes queue up behind each other.
   * Resolves to what came of each step.
   */
  apply(steps: readonly ((state: NodeState) => Step)[]): Promise<readonly Outcome[]>;
}

const FILE = "node.json";

/**
 * Undefined when this machine has not joined.
 * @throws SkeinError STORE_CORRUPT
 */
export async function loadNodeStore(
  dir: string,
  write: WriteFile = writeFileAtomic,
): Promise<NodeStore | undefined> {
  const text = await readIfThere(path.join(dir, FILE));
  if (text === undefined) return undefined;
  return storeOf(dir, readNodeState(text), write);
}

/** Writes a first state. */
export async function createNodeStore(dir: string, state: NodeState): Promise<NodeStore> {
  await save(dir, state, writeFileAtomic);
  return storeOf(dir, state, writeFileAtomic);
}

/** Everything below the state's folder that is written by `writeFileAtomic`. */
const WRITTEN = ["", "apps", "documents", "receipts"];

/** `loadNodeStore` at the start of who works with it: removes what killed writers left there. */
export async function openNodeStore(dir: string, write?: WriteFile): Promise<NodeStore | undefined> {
  for (const folder of WRITTEN) removeLeft(path.join(dir, folder));
  return await loadNodeStore(dir, write);
}

function storeOf(dir: string, first: NodeState, write: WriteFile): NodeStore {
  let state = first;
  let queue: Promise<unknown> = Promise.resolve();
  return {
    get state() {
      return state;
    },
    async apply(steps) {
      const turn = queue.then(async () => {
        let next = state;
        const outcomes = steps.map((step) => {
          const { state: after, outcome } = step(next);
          next = after;
          return outcome;
        });
        if (next !== state) await save(dir, next, write);
        state = next;
        return outcomes;
      });
      queue = turn.catch(() => undefined);
      return turn;
    },
  };
}

async function save(dir: string, state: NodeState, write: WriteFile): Promise<void> {
  faultPoint("agent.node-save");
  await write(path.join(dir, FILE), nodeStateText(state));
  faultPoint("agent.node-saved");
}
