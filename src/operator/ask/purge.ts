import { SkeinError } from "../../lib/errors/errors.ts";
import { shortRelease, type ReleaseId } from "../../lib/text/ids.ts";
import { ask, Heard, nodesOf, type Answer, type AppSelection } from "./ask.ts";
import { runCommand } from "./commands.ts";
import { isHere } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";

const PURGE_MS = 10 * 60_000;
/** How long nodes that are away may come and hear of a pin. */
const PIN_MS = 7 * 86_400_000;

export interface PurgeWish extends AppSelection {
  readonly release: ReleaseId;
  /** Only ask whether it could go. */
  readonly dry: boolean;
}

/**
 * Removes one release from the nodes of an app. They are asked first: where one of them cannot do without it, nothing
 * is removed anywhere.
 * @returns what each node answered; one that had none of it told nothing
 * @throws SkeinError REVISION_ACTIVE
 */
export async function purge(
  operator: Operator,
  wish: PurgeWish,
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const { app, env, release } = wish;
  const { nodes } = await nodesOf(operator, wish, signal);
  const command = { kind: "purge", app, env, nodes, validMs: PURGE_MS };
  const asked = await ask(operator, { ...command, args: { release, dry: true } }, signal);
  refuseActive(asked, wish);
  if (wish.dry) return asked;
  // Named although they are away: no earlier command is to place it on them when they come.
  const done = await ask(operator, { ...command, args: { release }, silentToo: true }, signal);
  refuseActive(done, wish);
  return done;
}

function refuseActive(answers: readonly Answer[], { app, release }: PurgeWish): void {
  const refused = answers.filter(({ outcome }) => outcome === "failed");
  const [first] = refused;
  if (first === undefined) return;
  const code = refused.some((one) => one.code === "REVISION_ACTIVE") ? "REVISION_ACTIVE" : "IO";
  const what = `${shortRelease(app, release)} stays: ${refused.length} of ${answers.length} nodes refuse`;
  throw new SkeinError(code, what, {
    hint: `Deploy another version first, or unpin it: skein releases unpin ${app} ${release.slice(0, 8)}`,
    data: { app, release, lines: refused.map(({ node, message }) => `${node}: ${message ?? ""}`) },
  });
}

/**
 * Keeps a release from every gc on the nodes of an app, or lets it go.
 * @returns what each node answered; one that is away hears of it when it comes (`silent`)
 */
export async function pin(
  operator: Operator,
  wish: AppSelection & { readonly release: ReleaseId; readonly pinned: boolean },
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const { app, env, release, pinned } = wish;
  const { nodes } = await nodesOf(operator, wish, signal);
  const waiting = new Set(nodes.filter(isHere).map(({ identity }) => identity.name));
  const heard = new Heard();
  const command = { kind: "pin", app, env, args: { release, pinned }, nodes, validMs: PIN_MS };
  for await (const line of runCommand(operator, command, signal)) {
    if (line.type === "result") heard.take(line);
    if (line.type === "result" || line.type === "cut") waiting.delete(line.name);
    if (waiting.size === 0) break;
  }
  return nodes.map(({ identity }) => heard.answer(identity.name));
}
