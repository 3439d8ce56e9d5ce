/**
 * Commands on their way: an operator's signed request is handed to the nodes it names with what they want next, and
 * what they answer flows straight back. What is under way ends with the hub, but for commands that wait for absent
 * nodes: those are stored, and are handed over whether somebody reads the answers or not. The others are answered by the
 * hub for nodes that are gone, so that nobody waits for these until the command expires.
 */
import { SkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import { isReleaseId, type Digest, type KeyId, type ReleaseId } from "../../lib/text/ids.ts";
import { ndjsonLines } from "../../api/ndjson.ts";
import type { CommandLine } from "../../api/schemas.ts";
import { refuseForeign, refuseFuture } from "../../trust/charter/charter.ts";
import type { Command } from "../../trust/document/documents.ts";
import { openEnvelope, readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { keysWith } from "../../trust/charter/rights.ts";
import { longestCommandMs, rightFor } from "../../trust/members/sessions.ts";
import type { Charters } from "../cluster/charters.ts";
import type { Core } from "../records/core.ts";
import { isLasting, LastingCommands } from "./lasting-commands.ts";
import type { Presence } from "../cluster/presence.ts";
import { RelayQueue } from "./relay-queue.ts";

/** Of those that last, and as many of those that do not: in all, and by one operator, who leaves others their half. */
const MAX_OPEN = 400;
const MAX_OPEN_BY_ONE = MAX_OPEN / 2;
/** How often it is looked whether those who have to answer are still there. */
const LOOK_MS = 1000;
const AWAY = "it is away: the hub hears nothing of it";

interface Open {
  readonly envelope: Envelope;
  /** The operator who signed it; undefined: nobody who might any more. */
  readonly by: KeyId | undefined;
  readonly expires: number;
  /** Who has not ended its answer. */
  readonly waiting: Set<KeyId>;
  /** Who has begun to answer. */
  readonly answering: Set<KeyId>;
  /** Of whoever reads; the same command sent again is a new reader, and the one before is done with. */
  queue: RelayQueue;
  /** It goes on without a reader. */
  readonly lasting: boolean;
  /** Of one that lasts: those of which the reader was told that they went away. */
  readonly away: Set<KeyId>;
  /** How it ended on those that carried it out, for a reader who comes later; of one that lasts. */
  readonly ended: Map<KeyId, CommandLine>;
}

interface Beginning extends Pick<Open, "expires" | "lasting" | "by"> {
  /** Those that have not ended it. */
  readonly nodes: readonly KeyId[];
  readonly ended?: ReadonlyMap<KeyId, CommandLine>;
}

export class Commands {
  readonly #core: Core;
  readonly #charters: Charters;
  readonly #presence: Pick<Presence, "gone" | "silent">;
  readonly #lasting: LastingCommands;
  readonly #open = new Map<Digest, Open>();
  /** Told which nodes have a new command. */
  onNews: (node: KeyId) => void = () => undefined;

  constructor(core: Core, charters: Charters, presence: Pick<Presence, "gone" | "silent">) {
    this.#core = core;
    this.#charters = charters;
    this.#presence = presence;
    this.#lasting = new LastingCommands(core);
    for (const { digest, command, waiting: nodes, ...rest } of this.#lasting.all())
      this.#begin(digest, command, { ...rest, nodes, lasting: true, by: this.#byOf(command) }).close();
  }

  /** Commands that the node has not begun to answer. */
  openFor(node: KeyId): Envelope[] {
    const now = this.#core.clock.now();
    return [...this.#open.values()]
      .filter((open) => open.waiting.has(node) && !open.answering.has(node) && open.expires > now)
      .map(({ envelope }) => envelope);
  }

  /** Releases that commands which wait for their nodes name. */
  releases(): { readonly app: string; readonly release: ReleaseId }[] {
    return this.#lasting.all().flatMap(({ command }) => {
      const { app, args } = readUnverified(command, "command.1");
      const { release } = args;
      return app !== null && typeof release === "string" && isReleaseId(release) ? [{ app, release }] : [];
    });
  }

  /**
   * Who sends one again that lasts, since the answers were cut off, reads on: each node is named once more.
   * @throws SkeinError NOT_AUTHORISED, DOC_*, TOO_MANY, CONFLICT
   */
  async begin(envelope: Envelope): Promise<Digest> {
    const { body, digest, by } = this.#read(envelope);
    const now = this.#core.clock.now();
    for (const [known, { expires, queue }] of this.#open)
      if (expires <= now && queue.closed) this.#end(known);
    const known = this.#open.get(digest);
    if (known?.lasting === true) {
      readAnew(known);
      return digest;
    }
    if (known !== undefined) throw new SkeinError("CONFLICT", "this very command is under way");
    const { nodes, kind } = body;
    const lasting = isLasting(kind);
    this.#refuseMore(lasting, by);
    this.#begin(digest, envelope, { expires: msOf(body.expires), nodes, lasting, by });
    if (lasting) await this.#keep(digest, envelope, body);
    else await this.#overtake(body);
    for (const node of nodes) this.onNews(node);
    return digest;
  }

  /** @throws SkeinError TOO_MANY */
  #refuseMore(lasting: boolean, by: KeyId | undefined): void {
    const alike = [...this.#open.values()].filter((open) => open.lasting === lasting);
    const own = alike.filter((open) => open.by === by);
    if (alike.length < MAX_OPEN && own.length < MAX_OPEN_BY_ONE) return;
    throw new SkeinError("TOO_MANY", "too many commands are under way");
  }

  /** What the nodes answer, until all have, the command expires, or the reader leaves. */
  async *lines(digest: Digest, signal: AbortSignal): AsyncGenerator<CommandLine, void> {
    const open = this.#open.get(digest);
    if (open === undefined) return;
    const timeout = AbortSignal.timeout(Math.max(1, open.expires - this.#core.clock.now()));
    const stop = AbortSignal.any([signal, timeout]);
    const { queue } = open;
    try {
      // It is stored now, and waits for them whoever listens.
      if (open.lasting) for (const node of open.waiting) yield { node, type: "kept" };
      yield* this.#said(open, stop);
      if (signal.aborted || open.queue !== queue) return;
      for (const node of open.waiting)
        yield noAnswer(node, "TIMEOUT", "no answer before the command expired");
    } finally {
      if (open.queue !== queue || (open.lasting && open.waiting.size > 0)) queue.close();
      else this.#end(digest);
    }
  }

  /** Until all have ended, `stop` aborts, or somebody else reads. */
  async *#said(open: Open, stop: AbortSignal): AsyncGenerator<CommandLine, void> {
    const { queue } = open;
    while (!stop.aborted && open.queue === queue) {
      if (open.lasting) this.#tellAway(open);
      else this.#answerForGone(open);
      const line = queue.shift();
      if (line !== undefined) yield line;
      else if (open.waiting.size === 0) return;
      else await this.#change(open, stop);
    }
  }

  /** A node's answer. @throws SkeinError NOT_FOUND when nobody waits for it (any more) */
  async answer(digest: Digest, node: KeyId, body: AsyncIterable<Uint8Array>): Promise<void> {
    const open = this.#open.get(digest);
    if (open === undefined || !open.waiting.has(node) || open.answering.has(node)) {
      throw new SkeinError("NOT_FOUND", "nobody waits for this node's answer to this command");
    }
    open.answering.add(node);
    let ended = false;
    try {
      for await (const line of ndjsonLines(body)) {
        if (!open.waiting.has(node)) return;
        ended = isResult(line);
        const said = { ...(line as object), node } as CommandLine;
        if (ended && open.lasting) open.ended.set(node, briefly(said));
        await open.queue.push({ ...said, type: typeof said.type === "string" ? said.type : "line" });
      }
    } finally {
      await this.#answered(digest, open, node, ended);
    }
  }

  /** An answer that was cut off is the node's last word, unless the command lasts: then it is handed over again. */
  async #answered(digest: Digest, open: Open, node: KeyId, ended: boolean): Promise<void> {
    if (!open.waiting.has(node)) return;
    const cut = noAnswer(node, "HUB_UNREACHABLE", "the answer was cut off");
    if (open.lasting && !ended) {
      open.answering.delete(node);
      open.queue.pushEnd({ ...cut, type: "cut" });
      return this.onNews(node);
    }
    open.waiting.delete(node);
    if (!ended) open.queue.pushEnd(cut);
    open.queue.wake();
    if (!open.lasting) return;
    await this.#lasting.ended(digest, node, open.ended.get(node) ?? cut);
    if (open.waiting.size === 0 && open.queue.closed) this.#end(digest);
  }

  /** One that has begun to answer has a connection for that, whose end is seen. */
  #answerForGone(open: Open): void {
    for (const node of open.waiting) {
      if (open.answering.has(node) ? !this.#presence.silent(node) : !this.#presence.gone(node)) continue;
      open.waiting.delete(node);
      open.queue.pushEnd(noAnswer(node, "NODES_SILENT", AWAY));
    }
  }

  /** Whoever reads need not wait for them: they are handed it when they come. */
  #tellAway(open: Open): void {
    for (const node of open.waiting) {
      if (open.away.has(node) || !this.#presence.silent(node)) continue;
      open.away.add(node);
      open.queue.pushEnd({ ...noAnswer(node, "NODES_SILENT", AWAY), type: "cut" });
    }
  }

  /** Until there may be something to read, or it is time to look who is still there. */
  async #change({ queue }: Open, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const look = this.#core.clock.sleep(LOOK_MS, either).catch(() => undefined);
    await Promise.race([queue.change(either), look]);
    over.abort();
  }

  /** @throws SkeinError NOT_AUTHORISED, DOC_* */
  #read(envelope: Envelope): {
    readonly body: Command;
    readonly digest: Digest;
    readonly by: KeyId | undefined;
  } {
    const { charter } = this.#charters.need();
    const claimed = readUnverified(envelope, "command.1");
    refuseForeign("command", claimed.cluster, charter);
    const keys = keysWith(charter, rightFor(claimed));
    const { body, digest, signers } = openEnvelope(envelope, "command.1", keys, 1);
    const now = this.#core.clock.now();
    refuseFuture("command", body.issued, now);
    const expires = msOf(body.expires);
    if (expires <= now || expires - now > longestCommandMs(body.kind)) {
      throw new SkeinError("NOT_AUTHORISED", `the command's time is over, or too long: ${body.expires}`);
    }
    const [by] = signers;
    return { body, digest, by };
  }

  #byOf(envelope: Envelope): KeyId | undefined {
    try {
      return this.#read(envelope).by;
    } catch {
      return undefined;
    }
  }

  #begin(digest: Digest, envelope: Envelope, { nodes, ended, ...how }: Beginning): RelayQueue {
    const queue = new RelayQueue();
    const waiting = new Set(nodes);
    const nobody = { answering: new Set<KeyId>(), away: new Set<KeyId>() };
    this.#open.set(digest, { envelope, ...how, waiting, ...nobody, ended: new Map(ended), queue });
    return queue;
  }

  async #keep(digest: Digest, envelope: Envelope, body: Command): Promise<void> {
    try {
      for (const dropped of await this.#lasting.keep(digest, envelope, body)) this.#end(dropped);
    } catch (err) {
      this.#end(digest);
      throw err;
    }
  }

  /** What is purged is not to be placed by an older command when its node comes. */
  async #overtake(purge: Command): Promise<void> {
    if (purge.kind !== "purge" || purge.args["dry"] === true) return;
    for (const [digest, open] of this.#open) {
      if (!isOvertaken(readUnverified(open.envelope, "command.1"), purge)) continue;
      for (const node of purge.nodes) {
        if (open.answering.has(node) || !open.waiting.delete(node)) continue;
        const line = noAnswer(node, "CONFLICT", "the release was purged before the node came");
        open.ended.set(node, line);
        open.queue.pushEnd(line);
        await this.#lasting.ended(digest, node, line);
      }
      if (open.waiting.size === 0 && open.queue.closed) this.#end(digest);
    }
  }

  /** Nobody is handed it any more, and whoever reads it has reached its end. */
  #end(digest: Digest): void {
    const open = this.#open.get(digest);
    if (open === undefined) return;
    this.#open.delete(digest);
    const waiting = [...open.waiting];
    open.waiting.clear();
    open.queue.close();
    open.queue.wake();
    for (const node of waiting) this.onNews(node);
  }
}

/** What nodes say from now on is for a new reader, who is also told how it ended on others before. */
function readAnew(open: Open): void {
  const before = open.queue;
  open.queue = new RelayQueue();
  open.away.clear();
  for (const line of open.ended.values()) open.queue.pushEnd(line);
  before.close();
  before.wake();
}

const MOST_KEPT_BYTES = 4096;

/** A node may say as much as it likes of how it ended. */
function briefly(line: CommandLine): CommandLine {
  const { node, type, ok } = line;
  return Buffer.byteLength(JSON.stringify(line)) <= MOST_KEPT_BYTES ? line : { node, type, ok };
}

/** Does a command place, older than the purge, what that removes? */
function isOvertaken({ kind, app, env, args, issued }: Command, purge: Command): boolean {
  const isSame = app === purge.app && env === purge.env && args["release"] === purge.args["release"];
  return kind === "stage" && isSame && msOf(issued) <= msOf(purge.issued);
}

/** What the hub says for a node. */
const noAnswer = (node: KeyId, code: ErrorCode, message: string): CommandLine => ({
  node,
  type: "result",
  ok: false,
  code,
  message,
});

function isResult(line: unknown): boolean {
  return typeof line === "object" && line !== null && "type" in line && line.type === "result";
}
