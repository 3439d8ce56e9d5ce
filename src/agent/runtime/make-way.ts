import type { SocketSpec } from "../../keeper/protocol.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { isReleaseId, shortRelease } from "../../lib/text/ids.ts";
import { transportOf } from "./address.ts";
import { stopAll, type Cleared } from "./clearing.ts";
import { publicSocket, type Place } from "./instance-spec.ts";
import type { KeeperLink } from "./keeper-link.ts";
import { sameRun, type ProcessPlan, type ReleasePlan, type RunRef } from "./release-plan.ts";
import { isLive, type Held, type Stock } from "./stock.ts";
import { styleOf, type Style } from "./handover-style.ts";

/** What has to end before a process may start. */
export interface InTheWay {
  /** Those that may not run beside it, and those that have what it is to listen on. */
  readonly instances: readonly Held[];
  /** Held for others, where it binds them itself (`handover: gap`). */
  readonly sockets: readonly SocketSpec[];
}

export interface Comer {
  readonly app: string;
  readonly process: ProcessPlan;
  readonly style: Style;
}

/** @param runs those that make way for it */
export function inTheWay(comer: Comer, runs: readonly RunRef[], stock: Stock, place: Place): InTheWay {
  const { app, process, style } = comer;
  const wanted = Object.values(process.listen).map((listen) => publicSocket(app, listen, place));
  const sockets = wanted.filter(({ key }) => style === "gap" && stock.sockets.some((one) => one.key === key));
  const mayBeBeside = process.overlap && style !== "gap";
  const instances = stock.instances.filter((held) => {
    const { meta } = held;
    if (!isLive(held) || !runs.some((run) => sameRun(run, meta))) return false;
    if (meta.process === process.name && !mayBeBeside) return true;
    return sockets.some(({ key }) => Object.values(meta.held).includes(key)) || bindsOneOf(held, wanted);
  });
  return { instances, sockets };
}

export const isAny = ({ instances, sockets }: InTheWay): boolean => instances.length + sockets.length > 0;

/**
 * Where another version of the app goes on beside it.
 * @param stays those of the app's instances that nothing is to end
 * @throws SkeinError HANDOVER_REFUSED where it may not run in two versions, or cannot: the other has its fixed port
 */
export function refuseTwice({ app, process, style }: Comer, stays: readonly Held[], place: Place): void {
  const wanted = Object.values(process.listen).map((listen) => publicSocket(app, listen, place));
  const other = stays.find((held) => {
    if (!isLive(held) || held.view.state === "stopping") return false;
    if (!process.overlap && held.meta.process === process.name) return true;
    if (style !== "gap") return false;
    return wanted.some(({ key }) => Object.values(held.meta.held).includes(key)) || bindsOneOf(held, wanted);
  });
  if (other === undefined) return;
  const { release } = other.meta;
  const why = process.overlap ? "handover: gap" : "overlap: false";
  const beside = isReleaseId(release) ? shortRelease(app, release) : release;
  throw new SkeinError(
    "HANDOVER_REFUSED",
    `${process.name} may not run in two versions at once (${why}), and ${beside} is to go on beside it`,
    {
      hint: "Deploy it without --keep-old and without beside, or let its versions overlap.",
      data: { process: process.name, release },
    },
  );
}

/** What is in the way of whole plans, of what is none of theirs. @param extra of the very stock */
export function inTheWayOf(
  plans: readonly ReleasePlan[],
  extra: readonly Held[],
  stock: Stock,
  { place, ffi }: { readonly place: Place; readonly ffi: boolean },
): InTheWay {
  const runs = extra.map(({ meta }) => meta);
  const ways = plans.flatMap(({ app, dir, processes }) =>
    processes.flatMap((process) => {
      const style = styleIfAny(process, dir, ffi);
      return style === undefined ? [] : [inTheWay({ app, process, style }, runs, stock, place)];
    }),
  );
  return {
    instances: extra.filter((held) => ways.some(({ instances }) => instances.includes(held))),
    sockets: ways.flatMap(({ sockets }) => sockets),
  };
}

/** A process whose hand-over is refused is told of where it is started. */
function styleIfAny(process: ProcessPlan, dir: string, ffi: boolean): Style | undefined {
  try {
    return styleOf(process, dir, ffi);
  } catch (err) {
    if (isSkeinError(err)) return undefined;
    throw err;
  }
}

/** Only in mode `gap` does an instance bind what the manifest names. */
function bindsOneOf({ meta }: Held, wanted: readonly SocketSpec[]): boolean {
  if (meta.style !== "gap") return false;
  return meta.told.some((address) =>
    wanted.some(({ protocol, port, path }) => {
      if (protocol !== transportOf(address)) return false;
      return path === null ? port > 0 && port === address.port : path === address.path;
    }),
  );
}

/** Drains and stops who is in the way, then closes what was held for them. */
export async function makeWay(link: KeeperLink, { instances, sockets }: InTheWay): Promise<Cleared> {
  const cleared = await stopAll(link, instances);
  for (const { key } of sockets) await link.call("unlisten", { key });
  return cleared;
}
