import type { InstanceView, SocketView } from "../../keeper/protocol.ts";
import { type InstanceMeta, metaOfSpec } from "./instance-spec.ts";
import type { KeeperLink } from "./keeper-link.ts";
import { sameRun, type RunRef } from "./release-plan.ts";

/** An instance as the keeper has it, with what the runtime noted on it. */
export interface Held {
  readonly view: InstanceView;
  readonly meta: InstanceMeta;
}

/** What the keeper holds now. The runtime keeps no list of its own: this one survives it. */
export interface Stock {
  readonly instances: readonly Held[];
  readonly sockets: readonly SocketView[];
}

export async function readStock(link: KeeperLink): Promise<Stock> {
  const { instances, sockets } = await link.call("list", {});
  const held = instances.flatMap((view) => {
    const meta = metaOfSpec(view.spec);
    return meta === undefined ? [] : [{ view, meta }];
  });
  return { instances: held, sockets };
}

export const ofRun = (stock: Stock, run: RunRef): Held[] =>
  stock.instances.filter((held) => sameRun(held.meta, run));

export const isLive = ({ view }: Held): boolean =>
  view.state === "running" || view.state === "waiting" || view.state === "stopping";

export const isServing = ({ view }: Held): boolean => view.state === "running" && view.attached;

/** Has it ports of its own, and no other way in? */
export const isTableOnly = ({ style, told }: InstanceMeta): boolean =>
  style === "own" && told.some(({ port }) => port > 0);

/** Every other run of the same app. */
export function otherRuns(stock: Stock, run: RunRef): RunRef[] {
  const found = new Map<string, RunRef>();
  for (const { meta } of stock.instances) {
    if (meta.app === run.app && !sameRun(meta, run)) found.set(`${meta.release}.${meta.generation}`, meta);
  }
  return [...found.values()].map(({ app, release, generation }) => ({ app, release, generation }));
}
