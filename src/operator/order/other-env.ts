/** A node holds one environment of an app, and refuses orders for another. */
import { limitsOf } from "../../rollout/limits.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { AppEnv } from "../../lib/text/ids.ts";
import type { Strategy } from "../../trust/document/documents.ts";
import { selectorText } from "../../trust/document/selection.ts";
import { parseSelector, type Selector } from "../../trust/document/selector.ts";
import { isHere, type KnownNode } from "../nodes/nodes.ts";
import { namesOf } from "../tell/names-of.ts";

/** Another environment, of which the app runs there; null: none. */
export const otherEnvOn = ({ apps }: Pick<KnownNode, "apps">, { app, env }: AppEnv): string | null =>
  apps.find((one) => one.app === app && one.env !== env && one.release !== null)?.env ?? null;

interface Wish extends AppEnv {
  readonly selector: string;
  readonly nodes: readonly KnownNode[];
  readonly strategy: Strategy;
}

/**
 * Refuses what nodes that hold another environment would make fail on all of them: whoever had stopped or restarted by
 * then would go back.
 * @throws SkeinError ENV_CONFLICT
 */
export function refuseOtherEnvs({ app, env, selector, nodes, strategy }: Wish): void {
  const holders = nodes.flatMap((node) => {
    const holds = isHere(node) ? otherEnvOn(node, { app, env }) : null;
    return holds === null ? [] : [{ node: node.identity.name, holds }];
  });
  const [first] = holders;
  if (first === undefined || holders.length <= limitsOf(strategy, nodes.length).maxFailed) return;
  const held = [...new Set(holders.map(({ holds }) => holds))].map((holds) => {
    const names = holders.filter((one) => one.holds === holds).map(({ node }) => node);
    return `${namesOf(names)} ${names.length === 1 ? "holds" : "hold"} ${app} in ${holds}`;
  });
  const others = without(
    selector,
    holders.map(({ node }) => node),
  );
  const rest = holders.length === nodes.length ? "" : ` For ${env} on the others: --on '${others}'.`;
  throw new SkeinError("ENV_CONFLICT", `${held.join("; ")}, and this is for ${env}: nothing was ordered`, {
    hint: `Which is meant? For ${first.holds}: --env ${first.holds}.${rest}`,
    data: { app, env, nodes: holders },
  });
}

/** The selector without these nodes, which it names. */
function without(selector: string, names: readonly string[]): string {
  const of = names.map((value): Selector => ({ kind: "label", key: "name", value, equal: false }));
  const before = parseSelector(selector);
  if (before.kind === "and") return selectorText({ kind: "and", of: [...before.of, ...of] });
  return selectorText({ kind: "and", of: before.kind === "all" ? of : [before, ...of] });
}
