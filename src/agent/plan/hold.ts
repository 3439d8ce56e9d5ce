import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import { readIfThere, syncDirectory, writeFileAtomic } from "../../lib/disk/files.ts";
import { digestOf, type Digest } from "../../lib/text/ids.ts";
import { count, envName, releaseId, time } from "../../trust/document/fields.ts";
import { appStateOf, type NodeState } from "../../trust/node/node-state.ts";
import { compareSerials } from "../../trust/orders/orders.ts";
import type { Goal } from "./plan.ts";
import type { AppRecord } from "./records.ts";

/**
 * A release that a person on this machine asked for (`jump REV`): it needs no key, for it was signed, and it counts
 * until an order comes that is newer than the one it was asked over.
 */
const askedSchema = z.strictObject({
  env: envName,
  release: releaseId,
  /** The serial of the newest order then; null: there was none. */
  over: z.strictObject({ epoch: count, seq: count }).nullable(),
  at: time,
});
export type Asked = Readonly<z.infer<typeof askedSchema>>;

/** What was asked for, and what was held then: that counts again where what was asked for fails here. */
const holdSchema = askedSchema.extend({ before: askedSchema.nullable().default(null) });
export type Hold = Readonly<z.infer<typeof holdSchema>>;

/** A damaged file holds nothing: the order counts then. */
export async function readHold(file: string): Promise<Hold | null> {
  const text = await readIfThere(file);
  if (text === undefined) return null;
  try {
    return holdSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** null ends it. Durable when it resolves. */
export async function writeHold(file: string, hold: Hold | null): Promise<void> {
  if (hold !== null) return await writeFileAtomic(file, `${JSON.stringify(hold)}\n`);
  await fs.rm(file, { force: true });
  await syncDirectory(path.dirname(file));
}

/** What stands in a record in an order's place. */
function holdDigest({ release, at }: Asked): Digest {
  return digestOf(`hold ${release} ${at}`);
}

/** What of a hold counts now; null: the newest order does. */
export function heldNow(hold: Hold | null, record: AppRecord, state: NodeState): Asked | null {
  if (hold === null) return null;
  const { before, ...asked } = hold;
  const candidates = before === null ? [asked] : [asked, before];
  return candidates.find((one) => isHeld(one, record.app, state) && !hasFailed(one, record)) ?? null;
}

/** The hold without what does not count any more. */
export function settled(hold: Hold | null, record: AppRecord, state: NodeState): Hold | null {
  const now = heldNow(hold, record, state);
  if (hold === null || now === null) return null;
  return now.at === hold.at && now.release === hold.release ? hold : { ...now, before: null };
}

/** Has no newer order come since? */
export function isHeld({ env, over }: Asked, app: string, state: NodeState): boolean {
  const { head } = appStateOf(state, app, env);
  return head === null || (over !== null && compareSerials(head, over) <= 0);
}

function hasFailed(asked: Asked, { verdicts }: AppRecord): boolean {
  const verdict = verdicts[holdDigest(asked)];
  return verdict !== undefined && verdict !== "ok";
}

/** The goal while a hold counts; undefined: the order's. */
export function heldGoal(hold: Hold | null, record: AppRecord, state: NodeState): Goal | undefined {
  const held = heldNow(hold, record, state);
  if (held === null) return undefined;
  const { epoch, seq } = held.over ?? { epoch: 0, seq: 0 };
  return {
    order: holdDigest(held),
    release: held.release,
    state: "run",
    generation: record.reached?.generation ?? 0,
    beside: [],
    hooks: true,
    back: false,
    go: true,
    everywhere: true,
    local: true,
    answers: { epoch, seq, release: held.release },
  };
}
