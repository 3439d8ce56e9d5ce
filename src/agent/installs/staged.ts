import path from "node:path";
import * as z from "zod";
import { SkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { silentLog, type Log } from "../../lib/process/log.ts";
import { appName, envName, releaseId } from "../../trust/document/fields.ts";
import { readOwn } from "../node/own-file.ts";
import type { WriteFile } from "../node/reserve.ts";

const stagedRelease = z.object({
  app: appName,
  env: envName,
  release: releaseId,
  /** When an operator last asked for it, in ms since the epoch. */
  at: z.int(),
});
const pinnedRelease = z.object({ app: appName, release: releaseId });
const fileSchema = z.object({
  v: z.literal(1),
  staged: z.array(stagedRelease),
  pinned: z.array(pinnedRelease).default([]),
});
type Content = Readonly<z.infer<typeof fileSchema>>;

/** A release that an operator had placed here ahead of its deployment. */
export type StagedRelease = Readonly<z.infer<typeof stagedRelease>>;

/** How many of an app are kept from gc, and how long. Deployed, a release is kept by what it did. */
const KEPT_PER_APP = 3;
const KEPT_MS = 7 * 86_400_000;
const MAX_PINS = 32;

/**
 * What an operator wants kept from gc: releases that were staged, and pins. `staged.json` is written before the first
 * byte of a release is fetched, so that gc leaves alone what is coming.
 */
export interface Staged {
  all(): readonly StagedRelease[];
  /** Every release that is staged or pinned. */
  releases(): readonly ReleaseId[];
  /** Releases of an app that no gc takes until they are unpinned. */
  pins(app: string): readonly ReleaseId[];
  /** Durable when it resolves. @throws SkeinError TOO_MANY */
  pin(app: string, release: ReleaseId, isPinned: boolean): Promise<void>;
  /** Durable when it resolves. Older ones beyond what is kept are forgotten. */
  add(staged: StagedRelease): Promise<void>;
  /** It is gone, or needs no protection any more. */
  forget(app: string, releases: readonly ReleaseId[]): Promise<void>;
}

/**
 * Those of an app that gc leaves alone: the last 3, for 7 days each. By their row, in which each came last: a clock that
 * was ahead once must not have old ones take the place of new ones.
 */
export function stagedKept(all: readonly StagedRelease[], app: string, now: number): readonly ReleaseId[] {
  return all
    .filter((one) => one.app === app && now - one.at < KEPT_MS)
    .slice(-KEPT_PER_APP)
    .map(({ release }) => release)
    .reverse();
}

/** A damaged file protects nothing: what it named is still ordered, or staged and pinned again. */
export async function openStaged(
  stateDir: string,
  write: WriteFile = writeFileAtomic,
  log: Log = silentLog,
): Promise<Staged> {
  const file = path.join(stateDir, "staged.json");
  const read = await readOwn(file, (text) => fileSchema.parse(JSON.parse(text)), log);
  let content: Content = read ?? { v: 1, staged: [], pinned: [] };
  let queue: Promise<unknown> = Promise.resolve();
  const change = async (next: (now: Content) => Partial<Content>): Promise<void> => {
    const turn = queue.then(async () => {
      const after = { ...content, ...next(content) };
      await write(file, `${JSON.stringify(after)}\n`);
      content = after;
    });
    queue = turn.catch(() => undefined);
    await turn;
  };
  return {
    all: () => content.staged,
    releases: () => [...content.staged, ...content.pinned].map(({ release }) => release),
    pins: (app) => content.pinned.filter((one) => one.app === app).map(({ release }) => release),
    async pin(app, release, isPinned) {
      await change(({ pinned }) => {
        const others = pinned.filter((one) => one.app !== app || one.release !== release);
        if (isPinned && others.filter((one) => one.app === app).length >= MAX_PINS) throw tooMany(app);
        return { pinned: isPinned ? [...others, { app, release }] : others };
      });
    },
    async add(staged) {
      const isSame = ({ app, release }: StagedRelease): boolean =>
        app === staged.app && release === staged.release;
      await change(({ staged: before }) => {
        const others = before.filter((one) => !isSame(one));
        const kept = new Set(stagedKept([...others, staged], staged.app, staged.at));
        const left = others.filter(({ app, release }) => app !== staged.app || kept.has(release));
        return { staged: [...left, staged] };
      });
      faultPoint("agent.staging");
    },
    async forget(app, releases) {
      const isGone = (one: StagedRelease): boolean => one.app === app && releases.includes(one.release);
      if (!content.staged.some(isGone)) return;
      await change(({ staged }) => ({ staged: staged.filter((one) => !isGone(one)) }));
    },
  };
}

const tooMany = (app: string): SkeinError =>
  new SkeinError("TOO_MANY", `${app} has ${MAX_PINS} pinned releases already`, { data: { app } });
