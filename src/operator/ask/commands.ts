import { randomBytes } from "node:crypto";
import type { CommandLine } from "../../api/schemas.ts";
import { SkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import { shortRelease, type KeyId, type ReleaseId } from "../../lib/text/ids.ts";
import { HINT_CHARS, type Command } from "../../trust/document/documents.ts";
import { seal } from "../../trust/document/envelope.ts";
import { asText, timeOf } from "../../trust/document/fields.ts";
import { announce, type Deed } from "../tell/dry-run.ts";
import { namesOf } from "../tell/names-of.ts";
import type { KnownNode } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";

export interface CommandWish {
  readonly kind: string;
  readonly app: string | null;
  readonly env: string | null;
  readonly args: Command["args"];
  readonly nodes: readonly KnownNode[];
  /** How long nodes may begin to answer. */
  readonly validMs: number;
}

/** A line of a command's output with the name of the node it came from. */
export type NamedLine = CommandLine & { readonly name: string };

/** Kinds that change nothing on a node. */
const QUESTIONS: ReadonlySet<string> = new Set([
  "logs",
  "verify",
  "version",
  "drift",
  "forecast",
  "cache-list",
  "cache-read",
]);
const isQuestion = ({ kind, args }: CommandWish): boolean => QUESTIONS.has(kind) || args["dry"] === true;

const DEEDS: Readonly<Record<string, (what: string, instance: string) => string>> = {
  stage: (release) => `${release} would be placed`,
  pin: (release) => `${release} would be pinned`,
  unpin: (release) => `${release} would not be pinned any more`,
  "stop-now": (app) => `the instances of ${app} would be ended at once`,
  "start-instance": (app, instance) => `${instance} of ${app} would be started`,
  "stop-instance": (app, instance) => `${instance} of ${app} would be stopped`,
  "restart-instance": (app, instance) => `${instance} of ${app} would be restarted`,
  "cache-flush": () => "all that the cache holds would be removed",
};

/** Commands that say with an argument what they are. */
function deedWord(kind: string, args: CommandWish["args"]): string {
  if (kind === "pin" && args["pinned"] === false) return "unpin";
  return kind === "restart-instance" && args["idle"] === true ? "start-instance" : kind;
}

/** A command as it is told in a dry run. */
export function deedOf({ kind, app, env, args, nodes }: CommandWish): Deed {
  const { document: _document, ...said } = args;
  const names = nodes.map(({ identity }) => identity.name);
  const word = deedWord(kind, args);
  const { release, instance } = said;
  const what = typeof release === "string" ? shortRelease(app ?? "", release as ReleaseId) : (app ?? "");
  const text = DEEDS[word]?.(what, String(instance)) ?? `the command ${kind} would be given`;
  return {
    text: `${text} on ${namesOf(names)}`,
    data: { deed: word, app, env, ...said, nodes: names },
  };
}

/**
 * Signs a command, has it relayed, and gives what the nodes answer; ends when all have answered or time is up.
 * @throws DryRunEnd in a dry run, but for questions
 */
export async function* runCommand(
  operator: Operator,
  wish: CommandWish,
  signal: AbortSignal,
): AsyncGenerator<NamedLine, void> {
  if (!isQuestion(wish)) announce(operator, () => deedOf(wish));
  const now = operator.clock.now();
  const command: Command = {
    cluster: operator.charter.cluster,
    kind: wish.kind,
    app: wish.app,
    env: wish.env,
    args: wish.args,
    nodes: wish.nodes.map(({ identity }) => identity.node),
    nonce: randomBytes(16).toString("hex"),
    issued: timeOf(now),
    expires: timeOf(now + wish.validMs),
  };
  const sealed = await seal("command.1", command, [operator.signer]);
  const names = new Map<KeyId, string>(wish.nodes.map(({ identity }) => [identity.node, identity.name]));
  for await (const line of operator.client.command(sealed, signal)) {
    yield { ...line, name: names.get(line.node) ?? line.node };
  }
}

/** A text field of a line, as one line: else a node could write lines of another's. Empty when it has none. */
export function wordOf(line: NamedLine, key: string): string {
  const value = line[key];
  return typeof value === "string" ? value.replaceAll(/[\r\n]+/g, " ") : "";
}

/** A number field of a line; 0 when it has none that makes sense. */
export function numberOf(line: NamedLine, key: string): number {
  const value = line[key];
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}

/** The hub speaks for a node that said nothing, or not all. */
export const isSilence = (line: NamedLine): boolean => SILENCE.has(wordOf(line, "code"));
const SILENCE: ReadonlySet<string> = new Set<ErrorCode>(["TIMEOUT", "HUB_UNREACHABLE", "NODES_SILENT"]);

/** A node that did not do what was asked. @param code where it said that itself */
export function refusedBy(line: NamedLine, code: ErrorCode): SkeinError {
  const said = isSilence(line) ? "NODES_SILENT" : code;
  const hint = hintOf(line);
  return new SkeinError(said, `${line.name}: ${whyOf(line)}`, {
    ...(hint === null ? {} : { hint }),
    data: { node: line.name, cause: line["code"] },
  });
}

/** What to do about it, by the node's word; null where it says nothing of it. */
export const hintOf = (line: NamedLine): string | null => asText(wordOf(line, "hint"), HINT_CHARS) || null;

/** Why a node could not do what was asked. */
export function whyOf(line: NamedLine): string {
  return wordOf(line, "message") || wordOf(line, "code") || "it failed";
}
