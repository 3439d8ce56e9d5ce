import type { Manifest } from "../../app/manifest.ts";
import { revisionOf } from "../../bucket/layout.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { Order } from "../../trust/document/documents.ts";
import { openAsked, originHere } from "../deploy/resolve-wish.ts";
import { besideFor, refuseKeepOld } from "../order/beside.ts";
import { selectorFor, type DeployOptions } from "../deploy/deploy.ts";
import { ALL_STOPPED, withoutVersion } from "../deploy/lifecycle.ts";
import { APPLY_WITHIN_MS, selectorOf } from "../order/order.ts";
import { manifestOfRelease } from "../release/release-manifest.ts";
import { commitHere } from "../deploy/resolve-version.ts";
import type { Origin } from "../source/source.ts";
import type { BucketOperator } from "./bucket-operator.ts";
import { orderInBucket, type BucketIntent } from "./bucket-order.ts";
import { meantRelease, releaseToBucket, type BucketRelease } from "./bucket-releases.ts";

/** As for a hub, but for what only a hub could do: nobody watches the nodes. */
export type BucketDeployOptions = Omit<DeployOptions, "depot" | "helperDir" | "attended" | "applyWithinMs">;

export type BucketBuildOptions = Pick<
  BucketDeployOptions,
  "app" | "env" | "from" | "cwd" | "tell" | "accept" | "signal"
>;

export interface Deployed {
  readonly app: string;
  readonly release: ReleaseId;
  readonly revision: string;
  readonly seq: number;
  readonly selector: string;
  readonly spreadMs: number;
}

interface Target extends BucketRelease {
  readonly manifest: Manifest;
}

interface Made extends Target {
  readonly already: boolean;
}

/** Releases what is here, or `from`, and orders nothing. @throws SkeinError of every layer; nothing was changed then */
export async function buildToBucket(operator: BucketOperator, options: BucketBuildOptions): Promise<Made> {
  const { from } = options;
  const origin = from === null ? await originHere(options) : ({ kind: "path", path: from } as const);
  return await make(operator, origin, options);
}

/**
 * Releases what was asked for and orders it, through a bucket. The order stands at once; each node begins at its own
 * moment within the strategy's spread.
 * @throws SkeinError of every layer; nothing was changed then
 */
export async function deployToBucket(
  operator: BucketOperator,
  options: BucketDeployOptions,
): Promise<Deployed> {
  const { env, signal, strategy } = options;
  const accept = options.keepOld ? { accept: refuseKeepOld } : {};
  const target = await findTarget(operator, { ...options, ...accept });
  const { app, id } = target.place;
  const spreadMs = strategy.spreadMs ?? target.manifest.strategy.spreadMs;
  const published = await orderInBucket(
    operator,
    { app, env },
    (line): BucketIntent => {
      const { selector } = selectorFor(options.selector, target.manifest, line);
      const { keepOld } = options;
      return {
        release: id,
        state: "run",
        beside: besideFor(line, { release: id, manifest: target.manifest }, { keepOld, selector }),
        selector,
        strategy: { ...target.manifest.strategy, ...strategy },
        hooks: options.hooks,
        applyWithinMs: APPLY_WITHIN_MS,
        releases: [target.envelope],
      };
    },
    signal,
  );
  const { seq, selector } = published.order;
  return { app, release: id, revision: revisionOf(target.place), seq, selector, spreadMs };
}

export interface BucketReorderOptions {
  readonly app: string;
  readonly env: string;
  /** null: those of the last order that was not for some of them alone. */
  readonly selector: string | null;
  /** Which of its versions is to stop, by the first digits of its id. Default: the current one. */
  readonly version?: string | null;
  /** All of them are to stop. */
  readonly all?: boolean;
  readonly signal: AbortSignal;
}

/** The last order once more: stopped, run again, or run anew. @throws SkeinError APP_NOT_FOUND, NOT_FOUND, AMBIGUOUS */
export async function reorderInBucket(
  operator: BucketOperator,
  what: "stop" | "start" | "restart",
  { app, env, selector, version = null, all = false, signal }: BucketReorderOptions,
): Promise<number> {
  const published = await orderInBucket(
    operator,
    { app, env },
    (line): BucketIntent => {
      const { head, entry, whole } = line;
      if (head === null || entry === null) {
        throw new SkeinError("APP_NOT_FOUND", `${app} was never ordered in ${env}`, { data: { app, env } });
      }
      const { order } = head;
      const stopped = (): Partial<BucketIntent> =>
        all ? ALL_STOPPED : withoutVersion(order, version === null ? null : versionIn(order, version));
      const { release, beside, state, strategy, hooks, generation } = {
        ...order,
        ...(what === "stop" ? stopped() : { state: "run" as const }),
      };
      return {
        release,
        state,
        generation: what === "restart" ? generation + 1 : generation,
        beside,
        selector: selector ?? selectorOf(line) ?? order.selector,
        strategy,
        hooks,
        applyWithinMs: APPLY_WITHIN_MS,
        releases: entry.releases,
        part: selector !== null && release === whole?.order.release,
      };
    },
    signal,
  );
  return published.order.seq;
}

/** @throws SkeinError NOT_FOUND, AMBIGUOUS */
function versionIn({ app, release, beside }: Order, version: string): ReleaseId {
  const [found, ...more] = [release, ...beside].filter((id) => id.startsWith(version));
  const data = { app, version };
  if (found === undefined)
    throw new SkeinError("NOT_FOUND", `${app}@${version} is no version that the last order runs`, { data });
  if (more.length > 0)
    throw new SkeinError("AMBIGUOUS", `${version} is how several versions of ${app} begin`, {
      hint: "Give more of its digits.",
      data,
    });
  return found;
}

async function findTarget(operator: BucketOperator, options: BucketDeployOptions): Promise<Target> {
  const { app, version, from } = options;
  if (from !== null || version === null) return await buildToBucket(operator, options);
  if (app === null) throw new SkeinError("USAGE", "a version needs its app: skein deploy APP VERSION");
  return (await published(operator, app, version, options)) ?? (await fromCommit(operator, version, options));
}

/** A revision that is in the bucket already. */
async function published(
  operator: BucketOperator,
  app: string,
  version: string,
  { env, signal }: BucketDeployOptions,
): Promise<Target | undefined> {
  if (!/^[0-9a-f-]{4,50}$/.test(version)) return undefined;
  try {
    const found = await meantRelease(operator, { app, name: app, revision: version }, signal);
    const wanted = { id: found.place.id, release: found.release };
    const manifest = await manifestOfRelease(wanted, { depot: operator.bucket.depot, env, signal });
    return { ...found, manifest };
  } catch (err) {
    if (isSkeinError(err, "RELEASE_NOT_FOUND")) return undefined;
    throw err;
  }
}

async function fromCommit(
  operator: BucketOperator,
  version: string,
  options: BucketDeployOptions,
): Promise<Target> {
  const origin = await commitHere(options.cwd, version, options.signal);
  if (origin !== undefined) return await make(operator, origin, options);
  throw new SkeinError("RELEASE_NOT_FOUND", `${version} is neither in the bucket nor in a repository here`, {
    hint: `See skein list --master ${options.app}`,
    data: { app: options.app, version },
  });
}

async function make(operator: BucketOperator, origin: Origin, options: BucketBuildOptions): Promise<Made> {
  const { tell, signal } = options;
  await using opened = await openAsked(operator, origin, options);
  const { manifest, source } = opened;
  options.accept?.(manifest);
  const made = await releaseToBucket(operator, { app: manifest.app, source, tell, signal });
  return { ...made, manifest };
}
