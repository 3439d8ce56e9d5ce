import path from "node:path";
import { isSkeinError, SkeinError, toWire } from "../../lib/errors/errors.ts";
import { isDigest, isReleaseId, type Digest, type KeyId } from "../../lib/text/ids.ts";
import type { Command } from "../../trust/document/documents.ts";
import { digestOfEnvelope, type Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { openCommand } from "../../trust/members/sessions.ts";
import type { AppContext } from "../attempt/app-context.ts";
import { begunCommands, type Begun } from "./begun-commands.ts";
import type { Line } from "./command-lines.ts";
import { cacheCommand, isCacheCommand } from "./cache-commands.ts";
import { namedInstance, servingBy } from "./named-instance.ts";
import { collect } from "../installs/gc.ts";
import { placesFor } from "../../api/log-places.ts";
import { troubles } from "./troubles.ts";
import { forecast } from "./forecast.ts";
import { inspect } from "./inspect.ts";
import { followLogs } from "./log-lines.ts";
import { newRecord, type AppRecord } from "../plan/records.ts";
import { pin, purge } from "./purge.ts";
import { repair } from "./repair.ts";
import type { AppRuntime } from "../runtime/runtime.ts";
import { instanceId } from "../../lib/text/instance-id.ts";
import type { InstanceRow } from "../runtime/instance-rows.ts";
import { MOST_COMMANDS, type Source } from "../source/source.ts";
import { stage } from "./stage.ts";
import { until } from "../../lib/time/until.ts";
import { verifyServing, versionSaid } from "../health/verify.ts";

/** Leaves room for the command's own way within the second that `stop --now` promises. */
const STOP_NOW_MS = 700;

/** The word that takes an order back may come a moment later than what an operator says with it. */
const TURN_MS = 2000;
const TURN_LOOK_MS = 100;

/** Commands remembered as seen. */
const SEEN_KEPT = 1000;
/** Kinds that only take something away: where there is nothing, they are done. */
const REMOVING: ReadonlySet<string> = new Set(["gc", "purge", "end-hook"]);
/** Kinds that change nothing may come again, and so may one that comes again until it is done. */
const REPEATABLE: ReadonlySet<string> = new Set(["logs", "verify", "version", "drift", "forecast", "stage"]);

const BOUNCED = { start: "started", stop: "stopped", restart: "restarted" } as const;
/** What is done to one instance; to start one that serves does nothing. */
type Bounce = keyof typeof BOUNCED;

/** A promise: it tells nothing but how it ended. */
type Handler = (
  record: AppRecord,
  command: Command,
  signal: AbortSignal,
) => AsyncGenerator<Line, void> | Promise<void>;

/** Carries out operators' signed commands, each once, and streams what comes of them to whoever handed them over. */
export class CommandDesk {
  readonly #context: AppContext;
  readonly #runtime: AppRuntime;
  readonly #begun: Begun;
  /** Answered or being answered: what is handed over at each poll is not read each time. Oldest first. */
  readonly #seen = new Set<Digest>();
  #answering = 0;
  #isUnanswered = false;
  readonly #handlers: Readonly<Record<string, Handler>> = {
    logs: (record, command, signal) => this.#logs(record, command, signal),
    verify: (record, { args }, signal) => this.#verify(record, args["release"], signal),
    version: (record, _command, signal) => this.#version(record, signal),
    drift: (record, command, signal) => inspect(this.#context, this.#runtime, record, command, signal),
    repair: (record, { args }, signal) =>
      repair({ context: this.#context, runtime: this.#runtime, record, signal }, args["full"] === true),
    gc: (record, { args }) => this.#collect(record, args),
    purge: (record, { args }) => purge(this.#context, record, args),
    "stop-now": (record) => this.#stopNow(record),
    "end-hook": (record, { args }, signal) => this.#endHook(record, args["order"], signal),
    "restart-instance": (record, { args }) =>
      this.#bounce(record, args["instance"], args["idle"] === true ? "start" : "restart"),
    "stop-instance": (record, { args }) => this.#bounce(record, args["instance"], "stop"),
  };

  constructor(context: AppContext, runtime: AppRuntime) {
    this.#context = context;
    this.#runtime = runtime;
    this.#begun = begunCommands(path.join(context.paths.lib, "state"), context.log);
  }

  /** Undefined for a command that was begun before. */
  begin(envelope: Envelope, source: Source | undefined, signal: AbortSignal): Promise<void> | undefined {
    const digest = digestOfEnvelope(envelope);
    if (this.#seen.has(digest) || source === undefined || this.#answering >= MOST_COMMANDS) return undefined;
    this.#seen.add(digest);
    const [oldest] = this.#seen;
    if (this.#seen.size > SEEN_KEPT && oldest !== undefined) this.#seen.delete(oldest);
    this.#answering += 1;
    const answered = source.answer(digest, encoded(this.#lines(envelope, signal)), signal);
    return answered
      .catch((err: unknown) => {
        // Nobody has the answer: whoever hands the command over again shall have one.
        this.#seen.delete(digest);
        this.#isUnanswered = true;
        if (!isSkeinError(err)) throw err;
        if (signal.aborted) return;
        const { code, message } = err;
        this.#context.log.warn("nobody took the answer to a command", {
          command: digest,
          "err.code": code,
          "err.message": message,
        });
      })
      .finally(() => (this.#answering -= 1));
  }

  /** Did an answer come to nobody since this was asked last? What is wanted is to be heard again, with the command. */
  takeUnanswered(): boolean {
    const is = this.#isUnanswered;
    this.#isUnanswered = false;
    return is;
  }

  async *#lines(envelope: Envelope, signal: AbortSignal): AsyncGenerator<Line, void> {
    try {
      const { store, clock, signer } = this.#context;
      const context = { now: clock.now(), self: signer.kid };
      const { body, digest } = openCommand(store.state.charter, envelope, context);
      const isNew =
        REPEATABLE.has(body.kind) ||
        body.args["dry"] === true ||
        (await this.#begun.begin(digest, msOf(body.expires), context.now));
      if (!isNew) throw new SkeinError("CONFLICT", "this very command was carried out before");
      if (isCacheCommand(body.kind)) yield* cacheCommand(this.#context, body, signal);
      else if (body.kind === "stage") yield* stage(this.#context, { body, digest }, this.#begun, signal);
      else yield* this.#carryOut(body, signal);
      yield { type: "result", ok: true };
    } catch (err) {
      if (signal.aborted) return;
      yield { type: "result", ok: false, ...toWire(err) };
    }
  }

  /** @throws SkeinError APP_NOT_FOUND */
  #recordFor({ app, env }: Command): AppRecord {
    const record = app === null ? undefined : this.#context.records.get(app);
    if (record !== undefined && (env === null || record.env === env)) return record;
    const what =
      record === undefined ? `no ${app ?? "such app"}` : `${record.app} in ${record.env}, not in ${env}`;
    throw new SkeinError("APP_NOT_FOUND", `this node holds ${what}`);
  }

  /**
   * The same where a node that holds nothing of the app, or but a staged release, has no reason to refuse.
   * @throws SkeinError APP_NOT_FOUND
   */
  #recordOrNew(command: Command): AppRecord {
    const { app, env } = command;
    const isHeld = app === null || this.#context.records.get(app) !== undefined;
    return isHeld ? this.#recordFor(command) : newRecord(app, env ?? "default");
  }

  async *#carryOut(command: Command, signal: AbortSignal): AsyncGenerator<Line, void> {
    if (command.kind === "pin") {
      await pin(this.#context, this.#recordOrNew(command), command.args);
      return;
    }
    if (command.kind === "forecast") {
      yield await forecast(this.#context, command, signal);
      return;
    }
    const record = REMOVING.has(command.kind) ? this.#recordOrNew(command) : this.#recordFor(command);
    const handler = this.#handlers[command.kind];
    if (handler === undefined) {
      throw new SkeinError("USAGE", `this agent does not know the command ${command.kind}`);
    }
    const work = handler(record, command, signal);
    if (work instanceof Promise) await work;
    else yield* work;
  }

  async *#logs(record: AppRecord, command: Command, signal: AbortSignal): AsyncGenerator<Line, void> {
    const { clock, paths, signer } = this.#context;
    using over = until([signal], remainingMs(command, clock.now()));
    const since = await this.#logStarts(record, command.args);
    const options = { ...logOptions(command.args, signer.kid), since };
    for await (const line of followLogs(paths.log, record.app, options, over.signal)) yield { ...line };
  }

  /** Where the logs of the release that `since` names begin. */
  async #logStarts({ app }: AppRecord, { since }: Command["args"]): Promise<Map<string, number> | undefined> {
    if (typeof since !== "string") return undefined;
    const rows = (await this.#runtime.list()).filter((row) => row.app === app && row.release === since);
    return new Map(
      rows.flatMap(({ instance, logFrom }) => (logFrom === undefined ? [] : [[instance, logFrom]])),
    );
  }

  async *#bounce(record: AppRecord, instance: unknown, how: Bounce): AsyncGenerator<Line, void> {
    const row = await this.#instance(record, typeof instance === "string" ? instance : "");
    const runs = how === "start" && row.state === "serving";
    if (how === "stop") await this.#runtime.stop(row.key);
    else if (!runs && !(await this.#runtime.bounce(row.key))) throw ends(row);
    yield { type: "line", instance: instanceId(row), line: runs ? "runs already" : BOUNCED[how] };
  }

  async *#verify(record: AppRecord, wanted: unknown, signal: AbortSignal): AsyncGenerator<Line, void> {
    const release = typeof wanted === "string" && isReleaseId(wanted) ? wanted : servingBy(record);
    if (!(await verifyServing(this.#context, record, release, signal))) yield { type: "unverified", release };
  }

  async *#version(record: AppRecord, signal: AbortSignal): AsyncGenerator<Line, void> {
    const release = servingBy(record);
    yield { type: "version", release, version: await versionSaid(this.#context, record, release, signal) };
  }

  async *#collect(record: AppRecord, { count, before, dry }: Command["args"]): AsyncGenerator<Line, void> {
    const wish = {
      count: typeof count === "number" ? count : undefined,
      before: typeof before === "number" ? before : undefined,
      dry: dry === true,
    };
    const told = troubles(this.#context);
    for (const release of await collect(told.context, record, wish)) yield { type: "removed", release };
    yield* told.lines();
  }

  /** Every instance of the app, without waiting for what it has open. The order to stop follows. */
  async #stopNow(record: AppRecord): Promise<void> {
    const rows = (await this.#runtime.list()).filter(({ app }) => app === record.app);
    const keys = [...new Set(rows.map(({ key }) => key))];
    await Promise.all(keys.map((key) => this.#runtime.stop(key, STOP_NOW_MS)));
  }

  async *#endHook({ app }: AppRecord, order: unknown, signal: AbortSignal): AsyncGenerator<Line, void> {
    const { clock, endHook } = this.#context;
    if (typeof order !== "string" || !isDigest(order)) return;
    for (let leftMs = TURN_MS; leftMs > 0; leftMs -= TURN_LOOK_MS) {
      const hook = endHook?.(app, order);
      if (hook !== undefined) {
        yield { type: "ended", hook };
        return;
      }
      await clock.sleep(TURN_LOOK_MS, signal);
    }
  }

  /** By the id that reports give, or `web.1` of what is current. */
  async #instance(record: AppRecord, name: string): Promise<InstanceRow> {
    const rows = (await this.#runtime.list()).filter(({ app }) => app === record.app);
    return namedInstance(rows, record, name);
  }
}

const ends = (row: InstanceRow): SkeinError =>
  new SkeinError("CONFLICT", `${instanceId(row)} is being ended: it is not started again`);

function logOptions(args: Command["args"], node: KeyId): Parameters<typeof followLogs>[2] {
  const process = args["process"];
  return {
    process: typeof process === "string" ? process : undefined,
    lines: Number(args["lines"] ?? 100),
    follow: args["follow"] === true,
    after: placesFor(args["after"], node),
    places: args["places"] === true,
  };
}

const remainingMs = ({ expires }: Command, now: number): number => Math.max(1, Date.parse(expires) - now);

async function* encoded(lines: AsyncIterable<Line>): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const line of lines) yield Buffer.from(`${JSON.stringify(line)}\n`);
  } catch (err) {
    if (!isSkeinError(err)) throw err;
  }
}
