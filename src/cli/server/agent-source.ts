import type { AgentOptions } from "../../agent/agent.ts";
import { joinBucket } from "../../agent/node/join-bucket.ts";
import { bucketSource } from "../../agent/source/source-bucket.ts";
import { systemClock } from "../../lib/time/clock.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Context } from "../command/context.ts";
import { bucketHere, pinHere } from "../bucket/ftl-settings.ts";
import { nodeNameHere } from "../command/node-name.ts";
import { pinTold } from "./pin-told.ts";
import type { AgentFlags } from "./server-flags.ts";

/** A bucket in the place of hubs. A node that has joined a cluster keeps its name and labels. */
export async function bucketOptions(
  context: Context,
  flags: AgentFlags,
  log: Log,
): Promise<Pick<AgentOptions, "source" | "begin"> & Disposable> {
  const { source, join, name } = flags;
  const { signal, env, globals } = context;
  const pin = pinTold(flags) ?? (await pinHere(context));
  const bucket = await bucketHere(source === undefined ? {} : { bucket: source }, context, "reading");
  const clock = systemClock;
  const wish = (app: string, of: string): boolean => of === env && app === (globals.app ?? app);
  return {
    async source(_keys, store) {
      log.info("pulls from a bucket, unpaced: each order begins at this node's own moment", {
        source: bucket.name,
      });
      return await Promise.resolve(bucketSource(store, { bucket, wish, clock, log }));
    },
    begin: async (stateDir, keys) =>
      await joinBucket({
        bucket,
        line: join,
        pin,
        name: name ?? nodeNameHere(),
        stateDir,
        keys,
        clock,
        signal,
      }),
    [Symbol.dispose]: () => bucket[Symbol.dispose](),
  };
}
