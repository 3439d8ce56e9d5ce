import path from "node:path";
import { isatty } from "node:tty";
import type { Question } from "../../api/hub-caller.ts";
import { timerMs } from "../../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { pathsFrom, type Paths } from "../../lib/disk/paths.ts";
import { DryRun, DryRunEnd, type Doer } from "../../operator/tell/dry-run.ts";
import type { Operator } from "../../operator/identity/operator.ts";
import { appNamed, durationFlag, envNamed } from "./grammar.ts";
import { isServer, refuseIgnored } from "./ignored-flags.ts";
import { lineToHub } from "./line-to-hub.ts";
import { columns, processIo, type Io } from "../terminal/io.ts";

/** The flags that every command takes; `SKEIN_*` variables mirror them. */
export interface Globals {
  readonly app?: string | undefined;
  readonly env?: string | undefined;
  readonly on?: string | undefined;
  readonly json?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly verbose?: boolean | undefined;
  readonly timeout?: string | undefined;
  readonly detach?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
  /** Of FTL's verbs: for all machines. */
  readonly master?: boolean | undefined;
  readonly yes?: boolean | undefined;
  readonly color?: boolean | undefined;
}

/** What a command body works with. */
export interface Context extends Doer {
  readonly io: Io;
  readonly globals: Globals;
  /** The environment of apps: `default` where none is named. */
  readonly env: string;
  readonly paths: Paths;
  readonly cwd: string;
  /** Ends with Ctrl-C (INTERRUPTED) or `--timeout` (TIMEOUT). */
  readonly signal: AbortSignal;
  /** Begins to open the line to a hub, for whoever will ask for the operator soon. */
  connect(): void;
  /** The operator of this machine; closed with the command. @param ahead what will be asked for next, where that is known */
  operator(ahead?: readonly Question[]): Promise<Operator>;
  /** Told when a wait is cut short: how to come back. */
  comeBack(hint: string): void;
}

/** Folder with `git-remote-skein`. */
export const HELPER_DIR = path.resolve(
  import.meta.dirname,
  import.meta.filename.endsWith(".ts") ? "../../../bin" : "../bin",
);

/** What the result event says; `exit` is the exit code where it is not 0. */
export type Result = Readonly<Record<string, unknown>> & { readonly exit?: number };

export type Body = (context: Context) => Promise<Result | undefined>;

/**
 * Runs a command's body: opens what it asks for, turns Ctrl-C and `--timeout` into errors, prints the result event.
 * @param name the command's own, as it is typed
 * @returns the exit code
 */
export async function runBody(name: string, globals: Globals, body: Body): Promise<number> {
  const io = processIo(globals);
  const dryRun = globals.dryRun === true ? new DryRun() : undefined;
  const ended = new AbortController();
  let hint: string | undefined;
  const line = lineToHub(() => ({
    paths: pathsFrom(process.env),
    signal: ended.signal,
    dryRun,
    onWait: (text) => {
      io.event({ type: "note", text });
      io.say(text);
    },
  }));
  const listening = listenForEnd(ended);
  const timer = timeoutOf(name, globals, ended);
  try {
    refuseIgnored(name, globals);
    if (globals.app !== undefined) appNamed(globals.app);
    const paths = pathsFrom(process.env);
    const result = await untilDryRunEnd(body, {
      io,
      dryRun,
      globals,
      env: envNamed(globals.env ?? "default"),
      paths,
      cwd: process.cwd(),
      signal: ended.signal,
      connect: line.connect,
      operator: line.operator,
      comeBack: (text) => {
        hint = text;
      },
    });
    const { exit = 0, ...data } = result ?? {};
    const told = dryRun === undefined ? {} : tellDeeds(io, dryRun);
    io.event({ type: "result", ok: exit === 0, ...(exit === 0 ? {} : { exit }), ...told, ...data });
    return exit;
  } catch (err) {
    const { ofCommand, reportError } = await import("../terminal/report-error.ts");
    return reportError(
      io,
      ended.signal.aborted ? cutShort(ended.signal.reason, hint, globals) : ofCommand(err, name),
    );
  } finally {
    clearTimeout(timer);
    listening[Symbol.dispose]();
    await line.close();
  }
}

/** Ctrl-C and its like end the command; the second one ends the process. */
function listenForEnd(ended: AbortController): Disposable {
  const onSignal = (): void => {
    if (ended.signal.aborted) process.exit(130);
    ended.abort(new SkeinError("INTERRUPTED", "interrupted"));
  };
  const isAtTerminal = [0, 1, 2].some((fd) => isatty(fd));
  // Who closes the terminal means what Ctrl-C means, and may well be heard twice. Away from one (nohup, a supervisor)
  // nobody means anything by it, and it would end the command: Node takes back what nohup had the kernel ignore.
  const onHangup = (): void => {
    if (isAtTerminal && !ended.signal.aborted) onSignal();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  process.on("SIGHUP", onHangup);
  return {
    [Symbol.dispose]() {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
      process.off("SIGHUP", onHangup);
    },
  };
}

/** A dry run leaves its command where the real one begins to act. */
async function untilDryRunEnd(body: Body, context: Context): Promise<Result | undefined> {
  try {
    return await body(context);
  } catch (err) {
    if (err instanceof DryRunEnd) return {};
    throw err;
  }
}

/** What a dry run found that the command would do; verbs that answer for themselves have announced nothing. */
function tellDeeds(io: Io, { deeds }: DryRun): Result {
  for (const { text, rows = [] } of deeds) for (const line of [text, ...columns(rows)]) io.print(line);
  if (deeds.length > 0) io.say("A dry run: nothing was signed, sent or changed.");
  return { dryRun: true, ...(deeds.length > 0 ? { would: deeds.map(({ data }) => data) } : {}) };
}

function timeoutOf(name: string, { timeout }: Globals, ended: AbortController): NodeJS.Timeout | undefined {
  if (timeout === undefined || isServer(name)) return undefined;
  const late = new SkeinError("TIMEOUT", `not done within ${timeout}`);
  return setTimeout(() => ended.abort(late), timerMs(durationFlag(timeout)));
}

/**
 * What ended a command early, told when it has: what was on its way to the hub at that moment may have arrived since.
 * @param hint how to come back; without it nothing was ordered: a build, say, ends with its command
 */
function cutShort(reason: unknown, hint: string | undefined, { timeout = "" }: Globals): unknown {
  if (isSkeinError(reason, "TIMEOUT")) {
    const left = hint === undefined ? "" : "; what was started goes on";
    return new SkeinError("TIMEOUT", `not done within ${timeout}${left}`, {
      hint: hint ?? "Nothing is half-done; run it again, with more time.",
    });
  }
  if (!isSkeinError(reason, "INTERRUPTED")) return reason;
  return new SkeinError("INTERRUPTED", "interrupted", {
    hint: hint ?? "Nothing is half-done; run it again.",
  });
}

/** The `skein` that units start. */
export const launcher = (): string => path.join(HELPER_DIR, "skein");
