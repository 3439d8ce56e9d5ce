/** Apps as people ask about them: the newest order, the one that stands, their releases, who runs what. */
import type { AppList, AppSummary, AppView, OrderSummary, OrderView } from "../api/schemas.ts";
import { SkeinError } from "../lib/errors/errors.ts";
import type { AppEnv } from "../lib/text/ids.ts";
import { matches, parseSelector } from "../trust/document/selector.ts";
import type { Hub } from "./hub.ts";
import type { OrderRecord } from "./records/keys.ts";

const RELEASES_SHOWN = 20;
const PARTS_SHOWN = 64;

export async function appSummaries(hub: Hub): Promise<AppList> {
  const { revision } = hub.core.mirror;
  const apps: AppSummary[] = [];
  for (const place of hub.orders.appEnvs()) {
    const head = hub.orders.head(place);
    if (head === undefined) continue;
    const { digest, epoch, seq } = head;
    const { release, state, issued } = hub.orders.body(head);
    apps.push({
      ...place,
      head: digest,
      epoch,
      seq,
      release,
      state,
      issued,
      standing: hub.orders.standing(place)?.digest ?? null,
      least: leastStanding(hub, place),
      phase: await phaseOf(hub, head),
    });
  }
  return { apps, revision };
}

/** Of the orders that stand, the newest of each selector counts, and none below one that is for all. */
function leastStanding(hub: Hub, place: AppEnv): AppSummary["least"] {
  const selectors = new Set<string>();
  let least: OrderRecord | undefined;
  for (const record of hub.orders.log(place)) {
    if (hub.orders.settle(record.digest)?.published !== true) continue;
    const { selector } = hub.orders.body(record);
    if (!selectors.has(selector)) least = record;
    if (parseSelector(selector).kind === "all") break;
    selectors.add(selector);
  }
  return least === undefined ? null : { epoch: least.epoch, seq: least.seq };
}

/** @throws SkeinError APP_NOT_FOUND */
export async function appViews(
  hub: Hub,
  app: string,
  env: string | undefined,
): Promise<{ apps: AppView[]; revision: number }> {
  const { revision } = hub.core.mirror;
  const all = hub.orders.appEnvs().filter((place) => place.app === app);
  const places = all.filter((place) => env === undefined || place.env === env);
  if (places.length === 0) {
    const where = env === undefined ? app : `${app}/${env}`;
    const envs = all.map((place) => place.env);
    throw new SkeinError("APP_NOT_FOUND", `no app ${where}`, { data: { app, env: env ?? null, envs } });
  }
  return { apps: await Promise.all(places.map(async (place) => await appView(hub, place))), revision };
}

/** What was ordered of an app, newest first, and how each ended. */
export async function orderHistory(hub: Hub, place: AppEnv): Promise<{ orders: OrderSummary[] }> {
  const orders = hub.orders.log(place).map(async (record): Promise<OrderSummary> => {
    const { digest, epoch, seq } = record;
    const { release, state, issued } = hub.orders.body(record);
    const phase = await phaseOf(hub, record);
    const goesBack = record.goesBack === true;
    return { digest, epoch, seq, release, state, issued, phase, goesBack };
  });
  return { orders: await Promise.all(orders) };
}

async function appView(hub: Hub, place: AppEnv): Promise<AppView> {
  const head = hub.orders.head(place);
  const standing = hub.orders.standing(place);
  const phase = head === undefined ? null : await phaseOf(hub, head);
  const { whole, parts } = await ordersInForce(hub, place);
  const selector = head === undefined ? undefined : parseSelector(hub.orders.body(head).selector);
  const nodes = hub.presence.views().filter((node) => {
    const runs = node.apps.some(({ app, env }) => app === place.app && env === place.env);
    return runs || (selector !== undefined && matches(selector, node));
  });
  return {
    ...place,
    head: head === undefined ? null : await orderView(hub, head),
    standing: standing === undefined ? null : await orderView(hub, standing),
    phase,
    whole: whole === undefined ? null : await orderView(hub, whole),
    parts: await Promise.all(parts.map(async (part) => await orderView(hub, part))),
    releases: hub.releases.list(place.app, RELEASES_SHOWN),
    nodes,
  };
}

const phaseOf = async (hub: Hub, { digest }: OrderRecord): Promise<string> =>
  (await hub.rollouts.view(digest))?.phase ?? "pending";

/** What the app's nodes were last told together, and keep to, and what some of them were told alone since. */
async function ordersInForce(
  hub: Hub,
  place: AppEnv,
): Promise<{ readonly whole: OrderRecord | undefined; readonly parts: readonly OrderRecord[] }> {
  const parts = new Map<string, OrderRecord>();
  let whole: OrderRecord | undefined;
  for (const record of hub.orders.log(place)) {
    if ((await phaseOf(hub, record)) === "undone") continue;
    if (record.part !== true) {
      whole = record;
      break;
    }
    const { selector } = hub.orders.body(record);
    if (!parts.has(selector) && parts.size < PARTS_SHOWN) parts.set(selector, record);
  }
  return { whole, parts: [...parts.values()] };
}

async function orderView(hub: Hub, record: OrderRecord): Promise<OrderView> {
  const { app, env, release, state, issued, roster } = hub.orders.body(record);
  const { digest, epoch, seq, order } = record;
  const held = await hub.orders.roster(roster);
  const settle = hub.orders.settle(digest)?.settle ?? null;
  return {
    digest,
    app,
    env,
    epoch,
    seq,
    release,
    state,
    issued,
    order,
    settle,
    roster: held ?? { nodes: [] },
  };
}
