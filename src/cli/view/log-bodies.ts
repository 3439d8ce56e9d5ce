import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { appAsTyped, type ReleaseId } from "../../lib/text/ids.ts";
import { refusedBy, runCommand, whyOf, wordOf, type NamedLine } from "../../operator/ask/commands.ts";
import { presentNodesOf } from "../../operator/ask/ask.ts";
import { followLogs } from "../../operator/ask/follow-logs.ts";
import { appHere } from "../command/app-here.ts";
import type { Context, Result } from "../command/context.ts";
import { usage } from "../command/grammar.ts";
import { INTERRUPTED_EXIT } from "../terminal/report-error.ts";
import { leaveWithReader } from "../terminal/reader-gone.ts";
import { releaseNamed } from "../command/release-named.ts";

export interface LogFlags {
  readonly follow?: boolean;
  readonly lines: string;
  readonly process?: string;
}

const BEGIN_WITHIN_MS = 60_000;
const FOLLOW_MS = 11 * 3_600_000;
const VERIFY_MS = 15 * 60_000;

/** @param since only what instances of this release print, from their start on */
export async function logs(
  context: Context,
  word: string | undefined,
  flags: LogFlags,
  since?: ReleaseId,
): Promise<Result> {
  if (!/^\d{1,5}$/.test(flags.lines))
    throw usage(`${flags.lines} is no number of lines`, "Write 0 to 99999: --lines 100.");
  const operator = await context.operator();
  const app = await appHere(context, word);
  const nodes = await presentNodesOf(
    operator,
    { app, env: context.env, selector: context.globals.on ?? null },
    context.signal,
  );
  const follow = flags.follow === true;
  const args = argsOf(flags, since);
  const wish = {
    kind: "logs",
    app,
    env: context.env,
    args,
    nodes,
    validMs: follow ? FOLLOW_MS : BEGIN_WITHIN_MS,
  };
  context.comeBack(`skein logs ${appAsTyped(app, context.env)} --follow`);
  using _ = follow ? leaveWithReader() : undefined;
  const onAway = (): void =>
    context.io.say("The hub does not answer: what is printed meanwhile comes when it does.");
  const lines = untilCtrlC(
    followLogs(operator, wish, { signal: context.signal, onAway }),
    follow,
    context.signal,
  );
  const { failed, shown } = await showAll(context, lines, follow && nodes.length > 1);
  if (failed === undefined && shown === 0 && args.lines > 0) context.io.say(nothingOf(app, flags.process));
  if (failed !== undefined) throw refusedBy(failed, "NOT_FOUND");
  return endOf(app, context.signal);
}

/** @param tellsGone the others' lines may come for hours */
async function showAll(
  context: Context,
  lines: AsyncIterable<NamedLine>,
  tellsGone: boolean,
): Promise<{ readonly failed: NamedLine | undefined; readonly shown: number }> {
  let failed: NamedLine | undefined;
  let shown = 0;
  for await (const line of lines) {
    if (line.type !== "result") {
      showLine(context, line);
      shown += 1;
    } else if (line["ok"] !== true) {
      failed = line;
      if (tellsGone) context.io.say(`${line.name}  ${whyOf(line)}: no more of it is shown`);
    }
  }
  return { failed, shown };
}

const endOf = (app: string, { aborted }: AbortSignal): Result =>
  aborted ? { app, exit: INTERRUPTED_EXIT } : { app };

/** Who follows ends that with Ctrl-C, as asked: nothing is to be said of it. */
async function* untilCtrlC<T>(
  lines: AsyncIterable<T>,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<T> {
  try {
    yield* lines;
  } catch (err) {
    if (!follow || !isSkeinError(signal.reason, "INTERRUPTED")) throw err;
  }
}

const argsOf = ({ lines, follow, process }: LogFlags, since: ReleaseId | undefined) => ({
  lines: Number(lines),
  follow: follow === true,
  ...(process === undefined ? {} : { process }),
  ...(since === undefined ? {} : { since }),
});

const nothingOf = (app: string, process: string | undefined): string =>
  process === undefined
    ? `Nothing of ${app} has printed anything yet.`
    : `No process ${process} of ${app} has printed anything.`;

function showLine(context: Context, line: NamedLine): void {
  context.io.event({ ...line, type: "log" });
  const from = wordOf(line, "instance") || wordOf(line, "source");
  context.io.print(`${line.name}${from === "" ? "" : ` ${from}`}  ${wordOf(line, "line")}`);
}

export async function verify(
  context: Context,
  word: string | undefined,
  version: string | undefined,
): Promise<Result> {
  const operator = await context.operator();
  const app = await appHere(context, word);
  const nodes = await presentNodesOf(
    operator,
    { app, env: context.env, selector: context.globals.on ?? null },
    context.signal,
  );
  const release = version === undefined ? undefined : await releaseNamed(context, app, version);
  const args = release === undefined ? {} : { release };
  const wish = { kind: "verify", app, env: context.env, args, nodes, validMs: VERIFY_MS };
  const bad: NamedLine[] = [];
  const heard = new Set<string>();
  const without = new Set<string>();
  for await (const line of runCommand(operator, wish, context.signal)) {
    if (line.type === "unverified") without.add(line.name);
    if (line.type !== "result") continue;
    heard.add(line.name);
    context.io.event({ ...line, type: "verify", verified: line["ok"] === true && !without.has(line.name) });
    context.io.print(`${line.name}  ${verdictOf(line, without.has(line.name))}`);
    if (line["ok"] !== true) bad.push(line);
  }
  const silent = nodes.map(({ identity }) => identity.name).filter((name) => !heard.has(name));
  if (bad.length === 0 && silent.length === 0) return { app, nodes: [...heard], unverified: [...without] };
  throw new SkeinError(
    "VERIFY_FAILED",
    `${bad.length + silent.length} of ${nodes.length} nodes failed the verification`,
    {
      data: { app, failed: bad.map(({ name }) => name), silent },
    },
  );
}

/** No verification is no failure: what was not asked for cannot fail. But it is no success either. */
function verdictOf(line: NamedLine, isWithout: boolean): string {
  if (line["ok"] !== true) return `ERROR ${wordOf(line, "code")} ${wordOf(line, "message")}`;
  return isWithout ? "no verification in its manifest" : "OK";
}
