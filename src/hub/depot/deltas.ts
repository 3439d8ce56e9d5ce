/**
 * Deltas between releases of one app: made when a release is published, from what nodes run, and for a pair that a node
 * asks for. Small ones here, others in a process of their own, one at a time.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { WHOLE_BYTES } from "../../depot/peers/proof.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { isInBucket } from "../../depot/open-depot.ts";
import { messageOf } from "../../lib/errors/errors.ts";
import { isDigest, type TreeId } from "../../lib/text/ids.ts";
import { programFile } from "../../lib/process/program.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import type { MakerTask } from "../../release/delta/maker.ts";
import type { PublishedTree } from "../../release/tree/published.ts";
import { deltaName, type DeltaRef } from "../../release/tree/release-index.ts";
import type { Release } from "../../trust/document/documents.ts";
import type { Core } from "../records/core.ts";
import type { Peers } from "../reporting/peers.ts";
import { likelyFrom, pairOf, type PairParts } from "./delta-pairs.ts";
import { hasPassed } from "../../lib/time/clock.ts";

/** Longest that a node is kept waiting: it takes packs then. The delta is made all the same. */
const WAIT_MS = 10_000;
/** So long after a release only what most nodes come from is made: its order wants the processors. */
const OTHERS_AFTER_MS = 3000;
/** Pairs that wait for their turn; more are not made. */
const MOST_WAITING = 32;
const TASK_MS = 15 * 60_000;
/** So long, and for so many pairs, it is remembered that there is no delta. */
const NONE_MS = 10 * 60_000;
const NONE_PAIRS = 1000;
/** Releases of at most this are compared in this process: starting another takes longer. */
const HERE_BYTES = 256 * 1024;
const HERE_FILES = 200;

interface Task {
  readonly to: Release;
  readonly from: PublishedTree;
  /** Small ones do not wait for large ones. */
  readonly lane: "here" | "apart";
}

export interface DeltaParts extends PairParts {
  readonly peers: Pick<Peers, "give" | "proof">;
  /** The depot, where trees are read. */
  readonly trees: DepotReader;
}

export class Deltas implements AsyncDisposable {
  readonly #core: Pick<Core, "depot" | "clock" | "log" | "signal">;
  readonly #parts: DeltaParts;
  /** By the delta's name: made now, or waiting for its turn. None of these rejects. */
  readonly #making = new Map<string, Promise<void>>();
  /** Deltas that there are none of, as far as is known → since when, in ms since the epoch. */
  readonly #none = new Map<string, number>();
  /** App → the tree that was published last. */
  readonly #newest = new Map<string, TreeId>();
  /** What was begun last in each lane. */
  readonly #last = { here: Promise.resolve(), apart: Promise.resolve() };
  #child: ChildProcess | undefined;

  constructor(core: Pick<Core, "depot" | "clock" | "log" | "signal">, parts: DeltaParts) {
    this.#core = core;
    this.#parts = parts;
  }

  /**
   * A release was published: begins to make the delta that most nodes will want, and the others a little later. Whoever
   * wants one of those before gets it.
   */
  expect(to: Release): void {
    this.#newest.set(to.app, to.tree);
    const [first, ...others] = likelyFrom(this.#parts, to.app, to.tree);
    if (first !== undefined) this.#expectFrom(to, first);
    if (others.length > 0) void this.#expectLater(to, others);
  }

  /** Waits until a delta that is asked for is there, if it is one that this hub makes, and not for too long. */
  async need(name: string, signal: AbortSignal): Promise<void> {
    const [, to = "", from = ""] = /^deltas\/([0-9a-f]{64})\.([0-9a-f]{64})$/.exec(name) ?? [];
    if (!isDigest(to) || !isDigest(from)) return;
    if ((await this.#core.depot.has([name], signal)).has(name) || this.#isKnownNone(name)) return;
    const making = this.#making.get(name) ?? this.#ask(to as string as TreeId, from as string as TreeId);
    if (making === undefined) return;
    const stop = new AbortController();
    try {
      await Promise.race([making, this.#core.clock.sleep(WAIT_MS, AbortSignal.any([signal, stop.signal]))]);
    } finally {
      stop.abort();
    }
  }

  /** Ends what is being made; it is made when somebody asks for it again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child?.kill("SIGTERM");
    await Promise.all(Object.values(this.#last));
  }

  #expectFrom(to: Release, from: PublishedTree): void {
    if (this.#making.has(deltaName(to.tree, from.tree))) return;
    void this.#begin({ to, from, lane: laneOf([to]) });
  }

  async #expectLater(to: Release, others: readonly PublishedTree[]): Promise<void> {
    const { clock, signal } = this.#core;
    await clock.sleep(OTHERS_AFTER_MS, signal).catch(() => undefined);
    // Nodes will come to the one that was published since; who wants a delta to this one all the same asks for it.
    if (signal.aborted || this.#newest.get(to.app) !== to.tree) return;
    // One by one: whoever waits for one need not wait for all.
    for (const from of others) this.#expectFrom(to, from);
  }

  #ask(to: TreeId, from: TreeId): Promise<void> | undefined {
    const pair = pairOf(this.#parts, to, from);
    if (pair === undefined) return undefined;
    return this.#begin({ ...pair, lane: laneOf([pair.to, pair.from]) });
  }

  #begin(task: Task): Promise<void> | undefined {
    if (this.#making.size >= MOST_WAITING) return undefined;
    const name = deltaName(task.to.tree, task.from.tree);
    const done = this.#inTurn(task, name);
    this.#last[task.lane] = done;
    this.#making.set(name, done);
    return done;
  }

  async #inTurn(task: Task, name: string): Promise<void> {
    await this.#last[task.lane];
    const { app, tree } = task.to;
    try {
      if (!this.#core.signal.aborted) await this.#make(task);
    } catch (err) {
      this.#core.log.warn("a delta was not made", { app, tree, "err.message": messageOf(err) });
    }
    this.#making.delete(name);
    this.#noteNone(name);
  }

  async #make({ to, from, lane }: Task): Promise<void> {
    const { address, scratch } = this.#core.depot;
    const task = { depot: address, scratch, to: treeOf(to), from: [treeOf(from)] };
    const [made] = lane === "here" ? await this.#makeHere(task) : await this.#makeApart(task);
    if (made === undefined) return;
    this.#core.log.info("delta", { app: to.app, tree: to.tree, ...made });
    // At hand for those who are told of an order for it.
    if (made.bytes > 0 && made.bytes <= WHOLE_BYTES)
      await this.#parts.peers.proof(deltaName(to.tree, from.tree));
  }

  async #makeHere({ scratch, to, from }: MakerTask): Promise<readonly DeltaRef[]> {
    const [{ publishDeltas }, { encodeHere }] = await Promise.all([
      import("../../release/delta/publish-deltas.ts"),
      import("../../release/delta/encode-batch.ts"),
    ]);
    const { depot, signal } = this.#core;
    const { peers, trees } = this.#parts;
    return await publishDeltas({
      depot,
      trees,
      to,
      from,
      encoder: encodeHere,
      scratch,
      most: { bytes: HERE_BYTES, files: HERE_FILES },
      signal,
      // The order may come before the disk is done.
      onMade: async (name, delta) => {
        if (delta.size <= WHOLE_BYTES) await peers.give(name, delta.open(0));
      },
    });
  }

  async #makeApart(task: MakerTask): Promise<readonly DeltaRef[]> {
    const flags = ["--disable-warning=ExperimentalWarning", "--max-semi-space-size=2"];
    const child = spawn(process.execPath, [...flags, programFile("deltaMaker")], {
      stdio: ["pipe", "pipe", "pipe"],
      env: isInBucket(task.depot) ? bucketEnvironment() : {},
      timeout: TASK_MS,
    });
    this.#child = child;
    try {
      child.stdin.on("error", () => undefined);
      child.stdin.end(JSON.stringify(task));
      const [out, said] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
      if (child.exitCode === 0) return JSON.parse(out) as DeltaRef[];
      throw new Error(said.trim().slice(0, 1000) || `it ended with ${child.signalCode ?? child.exitCode}`);
    } finally {
      this.#child = undefined;
    }
  }

  /** The depot is asked first, always: only what did not come to be there counts. */
  #noteNone(name: string): void {
    keepNewest(this.#none, NONE_PAIRS, name, this.#core.clock.now());
  }

  #isKnownNone(name: string): boolean {
    const notedAt = this.#none.get(name) ?? -Infinity;
    return !hasPassed(NONE_MS, notedAt, this.#core.clock.now());
  }
}

/** What a bucket's address and credentials may come from, and nothing else that this process was given. */
function bucketEnvironment(): NodeJS.ProcessEnv {
  const isOfUse = (name: string): boolean => /^(?:SKEIN_)?AWS_/.test(name) || name === "HOME";
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => isOfUse(name)));
}

const treeOf = ({ tree, rows, since }: PublishedTree): PublishedTree => ({ tree, rows, since });

const laneOf = (releases: readonly Release[]): Task["lane"] =>
  releases.every(({ bytes, files }) => bytes <= HERE_BYTES && files <= HERE_FILES) ? "here" : "apart";
