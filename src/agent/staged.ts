import path from "node:path";
import { z } from "zod";
import { faultPoint } from "../lib/fault.ts";
import { readIfThere, writeFileAtomic } from "../lib/files.ts";
import type { ReleaseId } from "../lib/ids.ts";
import { appName, envName, releaseId } from "../trust/fields.ts";

const stagedRelease = z.object({
  app: appName,
  env: envName,
  release: releaseId,
  /** When an operator last asked for it, in ms since the epoch. */
  at: z.int(),
});
const fileSchema = z.object({ v: z.literal(1), staged: z.array(stagedRelease) });

/** A release that an operator had placed here ahead of its deployment. */
export type StagedRelease = Readonly<z.infer<typeof stagedRelease>>;

/** How many of an app are kept from gc, and how long. Deployed, a release is kept by what it did. */
const KEPT_PER_APP = 3;
const KEPT_MS = 7 * 86_400_000;

/** `staged.json`: written before the first byte of a release is fetched, so that gc leaves alone what is coming. */
export interface Staged {
  all(): readonly StagedRelease[];
  /** Durable when it resolves. Older ones beyond what is kept are forgotten. */
  add(staged: StagedRelease): Promise<void>;
  /** It is gone, or needs no protection any more. */
  forget(app: string, releases: readonly ReleaseId[]): Promise<void>;
}

/** Those of an app that gc leaves alone: the last 3, for 7 days each. */
export function stagedKept(all: readonly StagedRelease[], app: string, now: number): readonly ReleaseId[] {
  return all
    .filter((one) => one.app === app && now - one.at < KEPT_MS)
    .toSorted((a, b) => b.at - a.at)
    .slice(0, KEPT_PER_APP)
    .map(({ release }) => release);
}

/** @throws SkeinError when the file cannot be read or is of another format */
export async function openStaged(stateDir: string): Promise<Staged> {
  const file = path.join(stateDir, "staged.json");
  const text = await readIfThere(file);
  let all: readonly StagedRelease[] = text === undefined ? [] : fileSchema.parse(JSON.parse(text)).staged;
  let queue: Promise<unknown> = Promise.resolve();
  const change = async (next: (now: readonly StagedRelease[]) => readonly StagedRelease[]): Promise<void> => {
    const turn = queue.then(async () => {
      const after = next(all);
      await writeFileAtomic(file, `${JSON.stringify({ v: 1, staged: after })}\n`);
      all = after;
    });
    queue = turn.catch(() => undefined);
    await turn;
  };
  return {
    all: () => all,
    async add(staged) {
      const isSame = ({ app, release }: StagedRelease): boolean =>
        app === staged.app && release === staged.release;
      await change((before) => {
        const others = before.filter((one) => !isSame(one));
        const kept = new Set(stagedKept([...others, staged], staged.app, staged.at));
        return [...others.filter(({ app, release }) => app !== staged.app || kept.has(release)), staged];
      });
      faultPoint("agent.staging");
    },
    async forget(app, releases) {
      const isGone = (one: StagedRelease): boolean => one.app === app && releases.includes(one.release);
      if (all.some(isGone)) await change((before) => before.filter((one) => !isGone(one)));
    },
  };
}
