import { allEnded } from "./all-ended.ts";

const AT_ONCE = 16;

/**
 * Does `work` for each item, for so many at a time that a server is neither waited for nor flooded. In order. A failure
 * is told when those that were begun with it have ended.
 */
export async function fewAtOnce<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const done: R[] = [];
  for (let at = 0; at < items.length; at += AT_ONCE)
    done.push(...(await allEnded(items.slice(at, at + AT_ONCE).map(work))));
  return done;
}
