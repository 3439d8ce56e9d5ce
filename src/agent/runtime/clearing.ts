import type { InstanceSpec, StopResult } from "../../keeper/protocol.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { KeeperLink } from "./keeper-link.ts";
import { readStock, type Held } from "./stock.ts";

const GRACE_MS = 15_000;

export interface Cleared {
  /** Connections cut. */
  readonly cut: number;
  /** Instances that had to be killed. */
  readonly forced: readonly string[];
  readonly ms: number;
}

/** Ends instances, drained, all at once; they stay known to the keeper. */
export async function stopAll(link: KeeperLink, held: readonly Held[], withinMs?: number): Promise<Cleared> {
  const stopOf = async ({ view: { spec } }: Held): Promise<[string, StopResult]> => [
    spec.key,
    await stop(link, spec, withinMs),
  ];
  const results = await link.ends.during(keysOf(held), async () => await Promise.all(held.map(stopOf)));
  return {
    cut: results.reduce((sum, [, result]) => sum + result.cut, 0),
    forced: results.filter(([, result]) => result.forced).map(([key]) => key),
    ms: Math.max(0, ...results.map(([, result]) => result.ms)),
  };
}

/** Ends one instance, in its own time or in `withinMs`, however long that is. @throws SkeinError NOT_FOUND */
export async function endOne(link: KeeperLink, key: string, withinMs?: number): Promise<void> {
  await link.ends.during([key], async () => await stopOne(link, key, withinMs));
}

/**
 * Drains and stops one instance, and starts it again as it was.
 * @returns false where somebody ends it: then that is what was done
 * @throws SkeinError NOT_FOUND
 */
export async function startAgain(link: KeeperLink, key: string): Promise<boolean> {
  using again = link.ends.again(key);
  await stopOne(link, key);
  if (again.taken === undefined) await link.call("again", { key });
  return again.taken !== "end";
}

async function stopOne(link: KeeperLink, key: string, withinMs?: number): Promise<void> {
  const { instances } = await link.call("list", {});
  const held = instances.find(({ spec }) => spec.key === key);
  if (held === undefined)
    throw new SkeinError("NOT_FOUND", `no instance ${key}`, { data: { instance: key } });
  await stop(link, held.spec, withinMs);
}

const keysOf = (held: readonly Held[]): string[] => held.map(({ view }) => view.spec.key);

/** Drains and stops one, for whoever says what is to become of it. */
export async function stop(
  link: KeeperLink,
  { key, stop: own }: InstanceSpec,
  withinMs = own.withinMs,
): Promise<StopResult> {
  return await link.call("stop", { key, withinMs }, withinMs + GRACE_MS);
}

/** Forgets stopped instances with everything that was theirs alone, and closes what the app no longer uses. */
export async function forgetAll(link: KeeperLink, held: readonly Held[]): Promise<void> {
  if (held.length === 0) return;
  await link.ends.during(keysOf(held), async () => {
    for (const { view, meta } of held) {
      const { key } = view.spec;
      await link.call("forget", { key });
      for (const socket of meta.sockets) await link.call("unlockPort", { key: `${key}|${socket.name}` });
    }
  });
  await closeUnused(link, new Set(held.map(({ meta }) => meta.app)));
}

/** Closes the sockets of these apps that none of their instances needs. */
export async function closeUnused(link: KeeperLink, apps: ReadonlySet<string>): Promise<void> {
  const { instances, sockets } = await readStock(link);
  const used = new Set(
    instances.flatMap(({ view, meta }) => [...view.spec.sockets, ...Object.values(meta.held)]),
  );
  for (const { key } of sockets) {
    const [owner = "", run = ""] = key.split("|");
    const app = owner === "private" ? (run.split("/")[0] ?? "") : owner;
    if (apps.has(app) && !used.has(key)) await link.call("unlisten", { key });
  }
}
