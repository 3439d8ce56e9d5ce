import type { StopResult } from "../../keeper/protocol.ts";
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

/** Drains and stops instances, all at once; they stay known to the keeper. */
export async function stopAll(link: KeeperLink, held: readonly Held[], withinMs?: number): Promise<Cleared> {
  const results = await Promise.all(
    held.map(async ({ view }): Promise<[string, StopResult]> => {
      const within = withinMs ?? view.spec.stop.withinMs;
      return [
        view.spec.key,
        await link.call("stop", { key: view.spec.key, withinMs: within }, within + GRACE_MS),
      ];
    }),
  );
  return {
    cut: results.reduce((sum, [, result]) => sum + result.cut, 0),
    forced: results.filter(([, result]) => result.forced).map(([key]) => key),
    ms: Math.max(0, ...results.map(([, result]) => result.ms)),
  };
}

/** Forgets stopped instances with everything that was theirs alone, and closes what the app no longer uses. */
export async function forgetAll(link: KeeperLink, held: readonly Held[]): Promise<void> {
  if (held.length === 0) return;
  for (const { view, meta } of held) {
    const { key } = view.spec;
    await link.call("forget", { key });
    for (const socket of meta.sockets) await link.call("unlockPort", { key: `${key}|${socket.name}` });
  }
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
