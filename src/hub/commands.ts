/**
 * Commands on their way: an operator's signed request is handed to the nodes it names with what they want next, and
 * what they answer flows straight back. Nothing is stored; the hub ends with what is under way.
 */
import { SkeinError } from "../lib/errors.ts";
import type { Digest, KeyId } from "../lib/ids.ts";
import { ndjsonLines } from "../api/ndjson.ts";
import type { CommandLine } from "../api/schemas.ts";
import { refuseForeign, refuseFuture } from "../trust/charter.ts";
import { openEnvelope, readUnverified, type Envelope } from "../trust/envelope.ts";
import { msOf } from "../trust/fields.ts";
import { keysWith } from "../trust/rights.ts";
import type { Charters } from "./charters.ts";
import type { Core } from "./core.ts";
import { RelayQueue } from "./relay-queue.ts";

const MAX_OPEN = 200;
const MAX_LIFE_MS = 12 * 3_600_000;

interface Open {
  readonly envelope: Envelope;
  readonly expires: number;
  /** Who has not ended its answer. */
  readonly waiting: Set<KeyId>;
  /** Who has begun to answer. */
  readonly answering: Set<KeyId>;
  readonly queue: RelayQueue;
}

export class Commands {
  readonly #core: Core;
  readonly #charters: Charters;
  readonly #open = new Map<Digest, Open>();
  /** Told which nodes have a new command. */
  onNews: (node: KeyId) => void = () => undefined;

  constructor(core: Core, charters: Charters) {
    this.#core = core;
    this.#charters = charters;
  }

  /** Commands that the node has not begun to answer. */
  openFor(node: KeyId): Envelope[] {
    const now = this.#core.clock.now();
    return [...this.#open.values()]
      .filter((open) => open.waiting.has(node) && !open.answering.has(node) && open.expires > now)
      .map(({ envelope }) => envelope);
  }

  /** @throws SkeinError NOT_AUTHORISED, DOC_*, TOO_MANY, CONFLICT */
  begin(envelope: Envelope): Digest {
    const { charter } = this.#charters.need();
    const claimed = readUnverified(envelope, "command.1");
    refuseForeign("command", claimed.cluster, charter);
    const { app, env } = claimed;
    const right =
      app === null ? ({ kind: "admin" } as const) : ({ kind: "deploy", app, env: env ?? "default" } as const);
    const { body, digest } = openEnvelope(envelope, "command.1", keysWith(charter, right), 1);
    const now = this.#core.clock.now();
    refuseFuture("command", body.issued, now);
    const expires = msOf(body.expires);
    if (expires <= now || expires - now > MAX_LIFE_MS) {
      throw new SkeinError("NOT_AUTHORISED", `the command's time is over, or too long: ${body.expires}`);
    }
    if (this.#open.has(digest)) throw new SkeinError("CONFLICT", "this very command is under way");
    if (this.#open.size >= MAX_OPEN) throw new SkeinError("TOO_MANY", "too many commands are under way");
    const waiting = new Set(body.nodes);
    this.#open.set(digest, { envelope, expires, waiting, answering: new Set(), queue: new RelayQueue() });
    for (const node of body.nodes) this.onNews(node);
    return digest;
  }

  /** What the nodes answer, until all have, the command expires, or the reader leaves. */
  async *lines(digest: Digest, signal: AbortSignal): AsyncGenerator<CommandLine, void> {
    const open = this.#open.get(digest);
    if (open === undefined) return;
    const timeout = AbortSignal.timeout(Math.max(1, open.expires - this.#core.clock.now()));
    const stop = AbortSignal.any([signal, timeout]);
    try {
      while (!stop.aborted) {
        const line = open.queue.shift();
        if (line !== undefined) yield line;
        else if (open.waiting.size === 0) return;
        else await open.queue.change(stop);
      }
      if (timeout.aborted && !signal.aborted) yield* silent(open);
    } finally {
      this.#open.delete(digest);
      open.queue.close();
      for (const node of open.waiting) this.onNews(node);
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
        if (!this.#open.has(digest)) return;
        ended = isResult(line);
        const said = { ...(line as object), node } as CommandLine;
        await open.queue.push({ ...said, type: typeof said.type === "string" ? said.type : "line" });
      }
    } finally {
      open.waiting.delete(node);
      if (!ended)
        open.queue.pushEnd({
          node,
          type: "result",
          ok: false,
          code: "HUB_UNREACHABLE",
          message: "the answer was cut off",
        });
      open.queue.wake();
    }
  }
}

function* silent(open: Open): Generator<CommandLine, void> {
  for (const node of open.waiting) {
    yield {
      node,
      type: "result",
      ok: false,
      code: "TIMEOUT",
      message: "no answer before the command expired",
    };
  }
}

function isResult(line: unknown): boolean {
  return typeof line === "object" && line !== null && "type" in line && line.type === "result";
}
