/**
 * The hub's API for whoever calls it: agents, operators, builders. Every call checks what it gets against the route's
 * schema, ends within its time limit or the signal, and throws the hub's own SkeinError.
 */
import { WHOLE_BYTES, type ProvenBlob } from "../depot/peers/proof.ts";
import { isSkeinError } from "../lib/errors/errors.ts";
import type { Digest, KeyId } from "../lib/text/ids.ts";
import { systemClock } from "../lib/time/clock.ts";
import { retryDelayMs } from "../lib/time/retry.ts";
import type { Roster } from "../trust/document/documents.ts";
import type { Envelope } from "../trust/document/envelope.ts";
import { bytesOf } from "../trust/connection/http-client.ts";
import { Conversation } from "./conversation.ts";
import { HubCaller, type HubClientOptions } from "./hub-caller.ts";
import { BLOB_TYPE } from "./field-schemas.ts";
import { isPassingEnd } from "./passing.ts";
import type * as m from "./member-schemas.ts";
import type * as s from "./schemas.ts";
import type { Query } from "./wire.ts";

export interface WatchOptions {
  /** Revision to go on from; 0 is now. */
  readonly from?: number;
  readonly prefix?: "apps" | "ports" | "nodes" | "rollouts";
}

export interface SmallBlob {
  readonly name: string;
  readonly bytes: Buffer;
}

/** What a header can carry: an etag is sent back in one. */
const ETAG = /^[\x21-\x7e]{1,256}$/;
const BACKOFF = { baseMs: 200, maxMs: 10_000 } as const;

export class HubClient extends HubCaller {
  readonly #options: HubClientOptions;
  readonly #talk = new Conversation();

  constructor(options: HubClientOptions) {
    super(options);
    this.#options = options;
  }

  async hub(signal?: AbortSignal): Promise<s.HubInfo> {
    return await this.call("hub", { signal });
  }

  async charters(after: number, signal?: AbortSignal): Promise<Envelope[]> {
    return (await this.call("charters", { query: { after }, signal })).charters;
  }

  async postCharter(charter: Envelope, signal?: AbortSignal): Promise<void> {
    await this.call("postCharter", { body: { charter }, signal });
  }

  async postTicket(ticket: Envelope, signal?: AbortSignal): Promise<m.TicketView> {
    return await this.call("postTicket", { body: { ticket }, signal });
  }

  /** By the ticket's digest, or by the id of its join key (what the line of `node invite` carries). */
  async ticket(ticket: string, signal?: AbortSignal): Promise<m.TicketView> {
    return await this.call("ticket", { params: { ticket }, signal });
  }

  /** Idempotent for the same bytes. */
  async enrol(enrol: Envelope, signal?: AbortSignal): Promise<KeyId> {
    return (await this.call("enrol", { body: { enrol }, signal })).node;
  }

  async nodes(signal?: AbortSignal): Promise<s.NodeList> {
    return await this.call("nodes", { signal });
  }

  async nodeDocuments(name: string, signal?: AbortSignal): Promise<m.NodeDocuments> {
    return await this.call("nodeDocuments", { params: { name }, signal });
  }

  async postLabel(label: Envelope, signal?: AbortSignal): Promise<void> {
    await this.call("postLabel", { body: { label }, signal });
  }

  async postRevocation(revoke: Envelope, signal?: AbortSignal): Promise<void> {
    await this.call("postRevocation", { body: { revoke }, signal });
  }

  /** @param blobs small ones that it needs, so that they cost no request each; older hubs refuse them: BAD_REQUEST */
  async postRelease(
    release: Envelope,
    signal?: AbortSignal,
    blobs: readonly SmallBlob[] = [],
  ): Promise<s.ReleaseView> {
    const small = blobs.map(({ name, bytes }) => ({ name, base64: bytes.toString("base64") }));
    const body = small.length === 0 ? { release } : { release, blobs: small };
    return await this.call("postRelease", { body, signal });
  }

  async releases(
    query: { app?: string; limit?: number; with?: "tree" } = {},
    signal?: AbortSignal,
  ): Promise<s.ReleaseView[]> {
    return (await this.call("releases", { query, signal })).releases;
  }

  /** By full id, a unique prefix of it, or a commit or its prefix. @param more `tree`: how its tree is stored, too */
  async release(
    id: string,
    app?: string,
    signal?: AbortSignal,
    more: { readonly with?: "tree" } = {},
  ): Promise<s.ReleaseView> {
    return await this.call("release", { params: { id }, query: { app, ...more }, signal });
  }

  /**
   * Sends the same bytes again after a cut: the hub answers alike.
   * `goesBack`: it is a rollback, and the next one goes further back. `part`: it is for some of the app's nodes alone, and
   * the next one is not.
   * @throws SkeinError HEAD_MOVED, DEPLOY_IN_PROGRESS, HUB_CATCHING_UP, DOC_UNSIGNED …
   */
  async postOrder(
    order: Envelope,
    roster: Roster,
    settle: Envelope | null,
    signal?: AbortSignal,
    { goesBack = false, part = false }: { readonly goesBack?: boolean; readonly part?: boolean } = {},
  ): Promise<Digest> {
    // An older hub refuses a field that it does not know.
    const body = { order, roster, settle, goesBack, ...(part ? { part } : {}) };
    return (await this.call("postOrder", { body, signal })).digest;
  }

  async postSettle(settle: Envelope, signal?: AbortSignal): Promise<void> {
    await this.call("postSettle", { body: { settle }, signal });
  }

  async apps(signal?: AbortSignal): Promise<s.AppList> {
    return await this.call("apps", { signal });
  }

  async app(app: string, env?: string, signal?: AbortSignal): Promise<s.AppView[]> {
    return (await this.call("app", { params: { app }, query: { env }, signal })).apps;
  }

  /** @param news the revision that is known, and how long to wait for another; the end is told at once */
  async rollout(
    digest: string,
    signal?: AbortSignal,
    news: { readonly after: number; readonly waitMs: number } = { after: -1, waitMs: 0 },
  ): Promise<s.RolloutView> {
    const { after, waitMs } = news;
    const query = waitMs === 0 ? {} : { after, wait: waitMs };
    return await this.call("rollout", { params: { digest }, query, timeoutMs: waitMs + 30_000, signal });
  }

  /**
   * The same each time it changed, on one connection, until it ended.
   * @throws SkeinError NOT_FOUND, also where an older hub has no such answer; HUB_UNREACHABLE
   */
  async *rolloutViews(digest: string, signal: AbortSignal): AsyncGenerator<s.RolloutView, void> {
    yield* this.lines("rolloutViews", await this.send("rolloutViews", { params: { digest }, signal }));
  }

  /**
   * @param said the word's id, the same when it is said again
   * @throws SkeinError UNDO_TOO_LATE, ROLLOUT_ENDED, NOT_AUTHORISED, NOT_FOUND
   */
  async steerRollout(
    digest: string,
    word: s.Steering,
    said: string | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.call(`${word}Rollout`, { params: { digest }, query: { said }, signal });
  }

  /**
   * What this node should run; `undefined` when nothing but `etag` came within `waitMs`. A small delta that comes along
   * is given to the next `provenBlob` of its name.
   */
  async wanted(
    etag: string | undefined,
    waitMs: number,
    signal?: AbortSignal,
    boot?: string,
  ): Promise<s.Wanted | undefined> {
    const response = await this.send("wanted", {
      query: { wait: waitMs, boot, along: WHOLE_BYTES },
      headers: this.#talk.asking(etag),
      timeoutMs: waitMs + 10_000,
      signal,
    });
    if (response.statusCode === 304) return void response.resume();
    return await this.read("wanted", response, {
      isGood: (answer) => ETAG.test(answer.etag),
      body: () => this.#talk.read(response, this.name),
    });
  }

  /** Not proved: an order signed the digest. Undefined where this hub has none. */
  async roster(digest: Digest, signal?: AbortSignal): Promise<Roster | undefined> {
    try {
      return await this.call("roster", { params: { digest }, signal });
    } catch (err) {
      if (isSkeinError(err, "NOT_FOUND")) return undefined;
      throw err;
    }
  }

  async report(report: s.Report, signal?: AbortSignal): Promise<s.Reported> {
    const send = async (body: Buffer, headers: Readonly<Record<string, string>>): Promise<s.Reported> =>
      await this.call("report", { body, headers, signal });
    return await this.#talk.say(report, send);
  }

  async ports(query: { app?: string; env?: string } = {}, signal?: AbortSignal): Promise<s.PortList> {
    return await this.call("ports", { query, signal });
  }

  async repos(signal?: AbortSignal): Promise<s.ReposList["repos"]> {
    return (await this.call("repos", { signal })).repos;
  }

  /**
   * Changes from a revision on, for as long as `signal` lets it: reconnects with backoff and resumes after the last
   * event it gave; a revision that was cut in its midst is told again. Each connection begins with `synced`.
   * @throws SkeinError STORE_COMPACTED (read anew, then watch from there) and whatever is no passing fault
   */
  async *watch(signal: AbortSignal, options: WatchOptions = {}): AsyncGenerator<s.HubEvent, void> {
    let from = options.from ?? 0;
    for (let failures = 0; !signal.aborted;) {
      try {
        for await (const event of this.#events({ from, prefix: options.prefix }, signal)) {
          failures = 0;
          from = event.revision + (event.type === "synced" || event.more ? 0 : 1);
          yield event;
        }
      } catch (err) {
        if (signal.aborted) return;
        if (!isPassingEnd(err, signal)) throw err;
      }
      await this.#backOff(++failures, signal);
    }
  }

  /** Sends a signed command and gives what the nodes answer, line by line; ends when all have answered. */
  async *command(command: Envelope, signal: AbortSignal): AsyncGenerator<s.CommandLine, void> {
    yield* this.lines("postCommand", await this.send("postCommand", { body: { command }, signal }));
  }

  /** A node's answer to a command: lines of JSON, the last one `{type: "result", …}`. */
  async answerCommand(
    digest: Digest,
    node: KeyId,
    lines: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.send("answerCommand", {
      params: { digest, node },
      body: lines,
      timeoutMs: 2 ** 31 - 1,
      signal,
    });
    response.resume();
  }

  /** What a blob's pieces hash to, or the blob itself where it is that small. @throws SkeinError BLOB_MISSING */
  async provenBlob(blob: string, whole: number, signal?: AbortSignal): Promise<ProvenBlob> {
    const came = this.#talk.came(blob);
    if (came !== undefined) return { size: came.length, hashes: "", bytes: came };
    const response = await this.send("depotPieces", { params: { blob }, query: { whole }, signal });
    if (response.headers["content-type"] !== BLOB_TYPE) return await this.read("depotPieces", response);
    const bytes = await bytesOf(response, { maxBytes: whole });
    return { size: bytes.length, hashes: "", bytes };
  }

  async *#events(query: Query, signal: AbortSignal): AsyncGenerator<s.HubEvent, void> {
    yield* this.lines("events", await this.send("events", { query, signal }));
  }

  async #backOff(failures: number, signal: AbortSignal): Promise<void> {
    const { clock = systemClock, random = Math.random } = this.#options;
    const ms = retryDelayMs(Math.max(1, failures), { ...BACKOFF, random });
    await clock.sleep(ms, signal).catch(() => undefined);
  }
}
