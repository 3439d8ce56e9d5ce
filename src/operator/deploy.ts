import type { Manifest } from "../app/manifest.ts";
import type { Depot } from "../depot/depot.ts";
import { SkeinError } from "../lib/errors.ts";
import type { ReleaseId } from "../lib/ids.ts";
import type { Release, Strategy } from "../trust/documents.ts";
import type { Tell } from "./events.ts";
import { refuseUnfitting } from "./forecast.ts";
import { cacheDir } from "./home.ts";
import { APPLY_WITHIN_MS, readLine, type Line } from "./order.ts";
import { knownNodes, selectNodes } from "./nodes.ts";
import type { Operator } from "./operator.ts";
import { publishOrder, type PublishedOrder } from "./publish-order.ts";
import { findRelease, lookAhead, makeRelease, type Ahead, type MadeRelease } from "./release.ts";
import { manifestOfRelease } from "./release-manifest.ts";
import { resolveVersion } from "./resolve.ts";
import { resend } from "./sent.ts";
import { isApp, openSource, originOf, readManifest, type Origin } from "./source.ts";

export interface Wish {
  /** null: what the manifest here says. */
  readonly app: string | null;
  /** null: `HEAD` here, or the hub's newest. */
  readonly version: string | null;
  /** null: the manifest's `targets`, else what the last order said, else all nodes. */
  readonly selector: string | null;
  /** A folder or file to release as it is. */
  readonly from: string | null;
  readonly env: string;
  readonly cwd: string;
}

/** What finding or making a release takes. */
export interface FindOptions extends Wish {
  readonly depot: Depot;
  readonly helperDir: string;
  readonly tell: Tell;
  readonly signal: AbortSignal;
}

export interface DeployOptions extends FindOptions {
  readonly keepOld: boolean;
  readonly hooks: "run" | "skip";
  readonly attended: boolean;
  readonly applyWithinMs?: number;
  /** Laid over the manifest's strategy. */
  readonly strategy: Partial<Strategy>;
}

/** What is to be deployed, found or made. */
export interface Target {
  readonly app: string;
  readonly release: ReleaseId;
  readonly commit: string | null;
  readonly manifest: Manifest;
  readonly size: Pick<Release, "files" | "bytes">;
}

/**
 * Finds or makes the release that was asked for, signs an order for it and publishes that. Following it is the
 * caller's: whoever leaves does no harm.
 * @throws SkeinError of every layer; nothing was changed then
 */
export async function deploy(operator: Operator, options: DeployOptions): Promise<PublishedOrder> {
  const target = await findTarget(operator, options);
  await deliverEarlier(operator, target.app, options);
  const [line, known] = await Promise.all([
    readLine(operator, target.app, options.env, options.signal),
    knownNodes(operator, options.signal),
  ]);
  const { selector, implied } = selectorFor(options.selector, target.manifest, line);
  const { nodes } = selectNodes(known, selector);
  await refuseUnfitting(operator, { ...target, env: options.env, nodes }, options.signal);
  const intent = {
    release: target.release,
    state: "run",
    generation: line.head?.order.generation ?? 0,
    beside: besideFor(line, target, options.keepOld),
    selector,
    strategy: { ...target.manifest.strategy, ...options.strategy },
    hooks: options.hooks,
    applyWithinMs: options.applyWithinMs ?? APPLY_WITHIN_MS,
    attended: options.attended,
  } as const;
  const { tell, signal } = options;
  return await publishOrder(operator, line, intent, { tell, implied, signal, known });
}

/** An earlier command that was cut may have signed an order: it comes first. */
export async function deliverEarlier(
  operator: Operator,
  app: string,
  options: Pick<FindOptions, "env" | "tell" | "signal">,
): Promise<void> {
  const earlier = await resend(operator, app, options.env, options.signal);
  if (earlier === undefined) return;
  options.tell({
    type: "note",
    text: `An order that was signed before (${earlier.slice(0, 12)}) was delivered now.`,
  });
}

export async function findTarget(operator: Operator, options: FindOptions): Promise<Target> {
  const { app, version, from, signal } = options;
  if (from !== null) return await make(operator, { kind: "path", path: from }, options);
  await using stack = new AsyncDisposableStack();
  if (version === null) {
    const here = await hereIfItIs(app, options);
    if (here !== undefined) return await fromHere(operator, here, options);
    if (app === null) throw nothingHere(options.cwd);
  }
  if (app === null) throw new SkeinError("USAGE", "a version needs its app: skein deploy APP VERSION");
  const ahead = lookAhead(operator, app, options.depot, signal);
  const found = await resolveVersion(operator, {
    app,
    version,
    cwd: options.cwd,
    helperDir: options.helperDir,
    stack,
    signal,
  });
  if (found.kind === "commit") return await makeAnew(operator, found.origin, options, ahead);
  const { id, release } = found.found;
  const manifest = await manifestOfRelease(found.found, { depot: options.depot, env: options.env, signal });
  return { app, release: id, commit: release.commit, manifest, size: release };
}

interface Here {
  readonly origin: Origin;
  readonly left: readonly string[];
  /** Where it was read already. */
  readonly manifest?: Manifest;
}

/** The source in this folder, when it is the app that was named (or none was). */
export async function hereIfItIs(app: string | null, options: FindOptions): Promise<Here | undefined> {
  const { origin, left } = await originOf(options.cwd, options.signal);
  const read = { env: options.env, signal: options.signal };
  if (app === null) return (await isApp(origin, read)) ? { origin, left } : undefined;
  const manifest = await readManifest(origin, read).catch((err: unknown) => {
    if (err instanceof SkeinError && err.code.startsWith("MANIFEST_")) return undefined;
    throw err;
  });
  return manifest?.app === app ? { origin, left, manifest } : undefined;
}

async function fromHere(operator: Operator, here: Here, options: FindOptions): Promise<Target> {
  const { origin, left, manifest } = here;
  if (left.length > 0) {
    options.tell({
      type: "warning",
      text: `${left.length} uncommitted change${left.length === 1 ? " is" : "s are"} not deployed (HEAD is); --from . takes the folder as it is.`,
    });
  }
  return await make(operator, origin, options, manifest);
}

const nothingHere = (cwd: string): SkeinError =>
  new SkeinError("SOURCE_NOT_FOUND", `nothing in ${cwd} says what to deploy`, {
    hint: "Write a skein.yaml, name an app, or take the folder's plain files with --from .",
    data: { path: cwd },
  });

async function make(
  operator: Operator,
  origin: Origin,
  options: FindOptions,
  read?: Manifest,
): Promise<Target> {
  if (origin.kind === "commit") {
    const manifest = read ?? (await manifestOf(origin, options));
    const known = await knownCommit(operator, { commit: origin.commit, manifest }, options);
    if (known !== undefined) return known;
  }
  return await makeAnew(operator, origin, options);
}

async function makeAnew(
  operator: Operator,
  origin: Origin,
  options: FindOptions,
  ahead?: Ahead,
): Promise<Target> {
  const { made, manifest } = await buildRelease(operator, origin, options, ahead);
  return { app: manifest.app, release: made.id, commit: made.release.commit, manifest, size: made.release };
}

/** A commit that has a release needs no building again. */
async function knownCommit(
  operator: Operator,
  { commit, manifest }: { readonly commit: string; readonly manifest: Manifest },
  options: FindOptions,
): Promise<Target | undefined> {
  const found = await findRelease(operator, manifest.app, commit, options.signal);
  if (found === undefined) return undefined;
  tellRelease(options.tell, manifest.app, found.id, found.release, { already: true, storedBytes: 0 });
  return { app: manifest.app, release: found.id, commit, manifest, size: found.release };
}

async function manifestOf(origin: Origin, { app, env, signal }: FindOptions): Promise<Manifest> {
  return await readManifest(origin, { env, signal, ...(app === null ? {} : { app }) });
}

const sourceOptions = (
  operator: Operator,
  options: Pick<FindOptions, "env" | "app" | "tell" | "signal">,
) => ({
  cacheDir: cacheDir(operator.paths),
  env: options.env,
  ...(options.app === null ? {} : { app: options.app }),
  onLine: (line: string) => options.tell({ type: "output", line }),
  signal: options.signal,
});

/** Builds a source and publishes it. */
export async function buildRelease(
  operator: Operator,
  origin: Origin,
  options: Pick<FindOptions, "env" | "app" | "tell" | "signal" | "depot">,
  asked?: Ahead,
): Promise<{ readonly made: MadeRelease; readonly manifest: Manifest }> {
  await using opened = await openSource(origin, sourceOptions(operator, options));
  const { manifest, source } = opened;
  const made = await makeRelease(operator, {
    source,
    ahead:
      asked?.app === manifest.app ? asked : lookAhead(operator, manifest.app, options.depot, options.signal),
    signal: options.signal,
    onProgress: (progress) => options.tell({ type: "publishing", ...progress }),
  });
  for (const text of made.published.notes) options.tell({ type: "note", text });
  const { already, published } = made;
  tellRelease(options.tell, manifest.app, made.id, made.release, {
    already,
    storedBytes: published.storedBytes,
  });
  return { made, manifest };
}

function tellRelease(
  tell: Tell,
  app: string,
  release: ReleaseId,
  { commit, files, bytes }: MadeRelease["release"],
  more: { readonly already: boolean; readonly storedBytes: number },
): void {
  tell({ type: "release", app, release, commit, files, bytes, ...more });
}

export function selectorFor(
  asked: string | null,
  manifest: Pick<Manifest, "targets"> | null,
  line: Line,
): { readonly selector: string; readonly implied: boolean } {
  const said = asked ?? manifest?.targets ?? null;
  if (said !== null) return { selector: said, implied: false };
  const before = line.head?.order.selector;
  return before === undefined ? { selector: "all", implied: true } : { selector: before, implied: false };
}

const MAX_BESIDE = 100;

/** The older releases that go on running: the newest first, the one that is deployed not among them. */
export function besideFor(
  line: Line,
  target: Pick<Target, "release" | "manifest">,
  keepOld: boolean,
): ReleaseId[] {
  const { head } = line;
  const most = keepOld || target.manifest.beside === "all" ? MAX_BESIDE : target.manifest.beside;
  if (head === null) return [];
  const running = head.order.state === "run" ? [head.order.release, ...head.order.beside] : head.order.beside;
  return [...new Set(running)].filter((id) => id !== target.release).slice(0, most);
}
