import path from "node:path";
import * as z from "zod";
import { CHANGES_KEPT, change, type Membership } from "../../api/member-schemas.ts";
import { readIfThere } from "../../lib/disk/files.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { merged, NO_CHANGE, subjectOf, type Change } from "../../trust/members/changes.ts";
import type { WriteFile } from "./reserve.ts";

/**
 * What this node remembers of the cluster's members for a hub whose store may be set back. The hub may lose all of it,
 * and so may this node: nothing here is needed to run.
 */
const schema = z.strictObject({
  /** By it the hub knows that it let this node in; null: it was not told yet. */
  mark: z.string().nullable(),
  /** Up to where the hub was asked, in which life of its store. */
  incarnation: z.string().nullable(),
  revision: z.int(),
  /** One a node, the newest last. */
  changes: z.array(change),
});
type Memory = z.infer<typeof schema>;

export interface Remembered {
  readonly memory: Memory;
  /** @param told what a hub answered, less what does not verify */
  keep(told: Membership, incarnation: string): Promise<void>;
}

const NOTHING: Memory = { mark: null, incarnation: null, revision: 0, changes: [] };

export async function openRemembered(dir: string, write: WriteFile): Promise<Remembered> {
  const file = path.join(dir, "members.json");
  let memory = parse(await readIfThere(file));
  return {
    get memory() {
      return memory;
    },
    async keep({ mark, revision, changes }, incarnation) {
      const next = { mark, incarnation, revision, changes: together(memory.changes, changes) };
      await write(file, JSON.stringify(next));
      memory = next;
    },
  };
}

/** What each node is known by, the newest word last. */
export function byNode(changes: readonly Change[]): ReadonlyMap<KeyId, Change> {
  const known = new Map<KeyId, Change>();
  for (const one of changes) {
    const node = subjectOf(one);
    if (node === undefined) continue;
    const before = known.get(node) ?? NO_CHANGE;
    known.delete(node);
    known.set(node, merged(before, one));
  }
  return known;
}

function together(before: readonly Change[], more: readonly Change[]): Change[] {
  return [...byNode([...before, ...more]).values()].slice(-CHANGES_KEPT);
}

/** A damaged file is as none: the hub is asked for all of it. */
function parse(text: string | undefined): Memory {
  try {
    return text === undefined ? NOTHING : schema.parse(JSON.parse(text));
  } catch {
    return NOTHING;
  }
}
