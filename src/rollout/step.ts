import type { KeyId } from "../lib/text/ids.ts";
import { CONTRADICTED_MS, factsOf, GRACE_MS, STALL_MS, UNREACHED_MS, type Facts } from "./facts.ts";
import type { Limits } from "./limits.ts";
import { membersOf, type Plan } from "./plan.ts";
import type { Cause, Rollout } from "./rollout.ts";
import { tallyOf, wayBackOf, type Tally, type WayBack } from "./tally.ts";

/** What a step is taken from. */
export interface Scene {
  readonly plan: Plan;
  readonly limits: Limits;
  readonly facts: Facts;
}

/**
 * The next state of a rollout: the very same object when there is nothing to decide. Steps are small (one decision
 * each), so the caller takes steps until nothing changes, writing each down before anybody sees its gates.
 */
export function step(rollout: Rollout, scene: Scene): Rollout {
  if (rollout.ended !== null && rollout.ended !== "ok") return rollout;
  const inTime = dated(rollout, scene.facts);
  if (inTime !== rollout) return inTime;
  const seen = withStarted(rollout, scene);
  if (seen !== rollout) return seen;
  if (rollout.ended === "ok") return trickle(rollout, scene);
  return rollout.direction === "forward" ? forward(rollout, scene) : back(rollout, scene);
}

/** When the passing of time alone will next decide something; undefined when only news can. */
export function wakeAt(rollout: Rollout, { limits, facts }: Scene): number | undefined {
  const { bakingSince } = rollout;
  const times = [facts.since + GRACE_MS, facts.since + CONTRADICTED_MS, stallAt(rollout, facts)];
  if (bakingSince !== null) times.push(bakedAt(bakingSince, limits.bakeMs, facts));
  if (rollout.direction === "back") times.push(quietSince(rollout, facts) + UNREACHED_MS);
  times.push(rollout.direction === "forward" ? facts.applyBefore : facts.undoBefore);
  const ahead = times.filter((time) => time > facts.now);
  return ahead.length === 0 ? undefined : Math.min(...ahead);
}

/** A newer order took its place: what it was doing is the new one's business. */
export function overtaken(rollout: Rollout, facts: Facts): Rollout {
  if (rollout.ended !== null) return rollout;
  const cause: Cause = { code: "HEAD_MOVED", message: "a newer order took its place" };
  return { ...rollout, ended: "failed", cause, movedAt: facts.now };
}

/** Before the settle is published and before `undoBefore`, as the nodes see it too. */
export function mayUndo(rollout: Rollout, facts: Facts): boolean {
  const turnable = rollout.ended === null && rollout.direction === "forward";
  return turnable && facts.settle?.published !== true && facts.now < facts.undoBefore;
}

/** Where the clock was set back, what is timed from then on is timed from now. */
function dated(rollout: Rollout, { now }: Facts): Rollout {
  const { movedAt, bakingSince } = rollout;
  if (movedAt <= now && (bakingSince ?? -Infinity) <= now) return rollout;
  return { ...rollout, movedAt: now, bakingSince: bakingSince === null ? null : Math.min(bakingSince, now) };
}

/** Nodes may start by themselves where they see no hub: what they report counts as told. */
function withStarted(rollout: Rollout, { plan, facts }: Scene): Rollout {
  const started = membersOf(plan).filter(
    (node) => !rollout.go.has(node) && factsOf(facts, node).receipt?.verdict === "ok",
  );
  return started.length === 0 ? rollout : { ...rollout, go: union(rollout.go, started), movedAt: facts.now };
}

// Forward

function forward(rollout: Rollout, scene: Scene): Rollout {
  const { limits, facts } = scene;
  // Proven elsewhere, as a restored hub learns from its nodes: it stands, whatever was seen here.
  if (facts.settle?.published === true) return { ...rollout, ended: "ok", stuck: false, movedAt: facts.now };
  const tally = tallyOf(scene.plan, rollout, facts);
  if (tally.failed.length > limits.maxFailed + rollout.forgiven) {
    return stopped(rollout, scene, failureOf(tally, facts));
  }
  const silent = stalled(rollout, facts);
  if (silent && tally.inFlight.length > 0) {
    return { ...rollout, lost: union(rollout.lost, tally.inFlight), movedAt: facts.now };
  }
  if (tooManyAway(tally, scene)) return away(rollout, scene, tally);
  if (rollout.away) return { ...rollout, away: false };
  if (rollout.stuck && !rollout.paused) return { ...rollout, stuck: false, cause: null, movedAt: facts.now };
  if (rollout.paused) return rollout;
  return tally.waiting.length + tally.inFlight.length > 0
    ? opened(rollout, scene, tally)
    : baked(rollout, scene, tally);
}

function opened(rollout: Rollout, scene: Scene, tally: Tally): Rollout {
  const { facts } = scene;
  if (tally.waiting.length > 0 && facts.now >= facts.applyBefore) {
    if (!isOver(facts.applyBefore, facts)) return rollout;
    return stopped(rollout, scene, {
      code: "ORDER_EXPIRED",
      message: `${tally.waiting.length} nodes had not started by applyBefore`,
    });
  }
  const next = openable(scene, tally);
  if (next.length === 0) return rollout.bakingSince === null ? rollout : { ...rollout, bakingSince: null };
  return { ...rollout, go: union(rollout.go, next), bakingSince: null, movedAt: facts.now };
}

/** Of the first batch that is not done: those who may start now. */
function openable({ plan, limits, facts }: Scene, tally: Tally): KeyId[] {
  const undone = new Set([...tally.waiting, ...tally.inFlight]);
  const batches = [...plan.batches, ...chunks(plan.absent, limits.batch)];
  const current = batches.find((batch) => batch.some((node) => undone.has(node))) ?? [];
  const waiting = new Set(tally.waiting);
  return within(
    current.filter((node) => waiting.has(node)),
    facts,
    limits.maxUnavailable - tally.inFlight.length,
  );
}

/** As many serving nodes as there are slots, and all where nothing serves: a change takes nothing away there. */
function within(nodes: readonly KeyId[], facts: Facts, slots: number): KeyId[] {
  let left = slots;
  return nodes.filter((node) => !factsOf(facts, node).serving || left-- > 0);
}

function baked(rollout: Rollout, scene: Scene, tally: Tally): Rollout {
  const { limits, facts } = scene;
  const bakeMs = tally.ok.length === 0 ? 0 : limits.bakeMs;
  if (rollout.bakingSince === null) {
    const since = { ...rollout, bakingSince: facts.now, movedAt: facts.now };
    return bakeMs === 0 ? baked(since, scene, tally) : since;
  }
  if (facts.now < bakedAt(rollout.bakingSince, bakeMs, facts)) return rollout;
  const { needs, have, late } = facts.settle ?? { needs: 0, have: 0, late: [] };
  if (have >= needs) return { ...rollout, ended: "ok", movedAt: facts.now };
  if (!stalled(rollout, facts)) return rollout;
  return stopped(rollout, scene, {
    code: "SETTLE_UNPROVEN",
    message: `${have} of the ${needs} receipts that the settle needs${lateText(facts, late)}`,
  });
}

function lateText(facts: Facts, late: readonly KeyId[]): string {
  if (late.length === 0) return "";
  const names = listed(late.map((node) => nameOf(facts, node)));
  return `; dated too late for it, set the clock there: ${names}`;
}

/** What nobody looked at proves nothing: after a while of that, nodes have the time to say how they were. */
function bakedAt(since: number, bakeMs: number, facts: Facts): number {
  return Math.max(since + bakeMs, facts.since + Math.min(bakeMs, GRACE_MS));
}

/** An order that was signed in the knowledge that nobody is there (`needs` is 0) waits for nobody. */
function tooManyAway(tally: Tally, { limits, facts }: Scene): boolean {
  return facts.settle?.needs !== 0 && tally.absent.length + tally.gone.length > limits.maxAbsent;
}

/** Before anything was done it waits for them; later a short absence only holds up, a long one ends the rollout. */
function away(rollout: Rollout, scene: Scene, tally: Tally): Rollout {
  const { facts, limits } = scene;
  const names = [...tally.absent, ...tally.gone].map((node) => nameOf(facts, node));
  const cause: Cause = {
    code: "NODES_ABSENT",
    message: `${names.length} nodes are away, ${limits.maxAbsent} may be: ${listed(names)}`,
  };
  // Timed from when they went: a bake or a pause may have been silent for long before.
  if (rollout.go.size > 0 && !rollout.away) return { ...rollout, away: true, movedAt: facts.now };
  if (rollout.go.size > 0) return stalled(rollout, facts) ? stopped(rollout, scene, cause) : rollout;
  if (rollout.stuck || facts.now < facts.since + GRACE_MS) return rollout;
  return { ...rollout, stuck: true, cause, movedAt: facts.now };
}

function stopped(rollout: Rollout, { limits, facts }: Scene, cause: Cause): Rollout {
  if (limits.onFailure === "pause") {
    if (rollout.paused && rollout.stuck) return rollout;
    return { ...rollout, paused: true, stuck: true, cause, movedAt: facts.now };
  }
  if (mayUndo(rollout, facts)) return turned(rollout, facts, cause);
  if (!isOver(facts.undoBefore, facts)) return rollout;
  return { ...rollout, ended: "failed", cause: { ...cause, code: "UNDO_INCOMPLETE" }, movedAt: facts.now };
}

/** The rollout, from now on going back. */
export function turned(rollout: Rollout, facts: Facts, cause: Cause): Rollout {
  return {
    ...rollout,
    direction: "back",
    paused: false,
    stuck: false,
    cause,
    bakingSince: null,
    movedAt: facts.now,
  };
}

// Back

/** In the plan's reverse order, with the same bound on serving nodes; whoever is not done anyway goes at once. */
function back(rollout: Rollout, scene: Scene): Rollout {
  const { facts } = scene;
  if (facts.settle?.published === true) {
    const cause: Cause = { code: "UNDO_INCOMPLETE", message: "it was settled while it was taken back" };
    return { ...rollout, ended: "failed", cause, movedAt: facts.now };
  }
  const ways = new Map(
    membersOf(scene.plan)
      .filter((node) => rollout.go.has(node))
      .map((node) => [node, wayBackOf(rollout, facts, node)] as const),
  );
  const next = returnable(rollout, scene, ways);
  if (next.length > 0) return { ...rollout, back: union(rollout.back, next), movedAt: facts.now };
  const left = [...ways].filter(([, way]) => way !== "back").map(([node]) => node);
  if (left.length === 0) return { ...rollout, ended: "undone", stuck: false, movedAt: facts.now };
  const stragglers = left.filter((node) => ways.get(node) !== "broken");
  if (rollout.stuck || !isHopeless(rollout, facts, stragglers)) return rollout;
  const names = left.map((node) => nameOf(facts, node));
  const message = `${rollout.cause?.message ?? ""}; not taken back: ${listed(names)}`;
  return { ...rollout, stuck: true, cause: { code: "UNDO_INCOMPLETE", message }, movedAt: facts.now };
}

/** Does nothing but time, or a person, help any more? Nodes that are away come by themselves, if they come. */
function isHopeless(rollout: Rollout, facts: Facts, stragglers: readonly KeyId[]): boolean {
  if (stragglers.length === 0 || isOver(facts.undoBefore, facts) || stalled(rollout, facts)) return true;
  const areAway = stragglers.every((node) => !factsOf(facts, node).present);
  return areAway && facts.now >= quietSince(rollout, facts) + UNREACHED_MS;
}

function returnable(
  rollout: Rollout,
  { plan, limits, facts }: Scene,
  ways: ReadonlyMap<KeyId, WayBack>,
): KeyId[] {
  const standing = (node: KeyId): boolean => ways.get(node) === "standing";
  const takesSlot = (node: KeyId): boolean => {
    const { present, meant, receipt } = factsOf(facts, node);
    return present && meant && receipt?.verdict === "ok";
  };
  const nodes = [...ways.keys()];
  const free = nodes.filter((node) => !rollout.back.has(node) && !takesSlot(node));
  if (free.length > 0) return free;
  const returning = nodes.filter((node) => ways.get(node) === "returning" && factsOf(facts, node).present);
  const batches = [plan.absent, ...plan.batches.toReversed()];
  const open = (node: KeyId): boolean => ways.get(node) === "standing" || ways.get(node) === "returning";
  const current =
    batches.find((batch) => batch.some((node) => open(node) && factsOf(facts, node).present)) ?? [];
  return current.filter(standing).slice(0, Math.max(0, limits.maxUnavailable - returning.length));
}

// After the end

/** The order stands: those who come late, or come back, start under the same bound, in no batches. */
function trickle(rollout: Rollout, { plan, limits, facts }: Scene): Rollout {
  const members = new Set(membersOf(plan));
  const late = [...facts.nodes.keys()].filter((node) => !members.has(node)).sort();
  const all = { batches: plan.batches, absent: [...plan.absent, ...late] };
  const tally = tallyOf(all, rollout, facts);
  if (tally.inFlight.length > 0 && stalled(rollout, facts)) {
    return { ...rollout, lost: union(rollout.lost, tally.inFlight), movedAt: facts.now };
  }
  const next = within(tally.waiting, facts, limits.maxUnavailable - tally.inFlight.length);
  return next.length === 0 ? rollout : { ...rollout, go: union(rollout.go, next), movedAt: facts.now };
}

// Small things

/** What ends at that date has ended, and by a clock that nodes had the time to contradict. */
function isOver(date: number, { now, since }: Facts): boolean {
  return now >= date && now >= since + CONTRADICTED_MS;
}

function quietSince(rollout: Rollout, facts: Facts): number {
  return Math.max(rollout.movedAt, facts.since, facts.heardAt);
}

function stallAt(rollout: Rollout, facts: Facts): number {
  return quietSince(rollout, facts) + STALL_MS;
}

function stalled(rollout: Rollout, facts: Facts): boolean {
  return facts.now >= stallAt(rollout, facts);
}

function failureOf(tally: Tally, facts: Facts): Cause {
  const node = tally.failed[0];
  const { receipt, unwell } = node === undefined ? { receipt: null, unwell: null } : factsOf(facts, node);
  const name = node === undefined ? "a node" : nameOf(facts, node);
  if (receipt === null) return { code: "TIMEOUT", message: `${name}: nothing was heard for too long` };
  if (unwell !== null) return { code: "DEPLOY_FAILED", message: `${name}: ${unwell}` };
  const said = [receipt.code, receipt.message].filter((part) => part !== null).join(": ");
  return { code: "DEPLOY_FAILED", message: `${name}: ${said === "" ? receipt.verdict : said}` };
}

function nameOf(facts: Facts, node: KeyId): string {
  const { name } = factsOf(facts, node);
  return name === "" ? node.slice(0, 8) : name;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(", ");
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}

function union(set: ReadonlySet<KeyId>, more: readonly KeyId[]): ReadonlySet<KeyId> {
  return new Set([...set, ...more]);
}

function chunks(nodes: readonly KeyId[], size: number): KeyId[][] {
  const count = Math.ceil(nodes.length / size);
  return Array.from({ length: count }, (_, n) => nodes.slice(n * size, (n + 1) * size));
}
