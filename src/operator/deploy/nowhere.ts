import type { Manifest } from "../../app/manifest.ts";
import type { Identity } from "../../trust/members/identity.ts";
import { matches, parseSelector } from "../../trust/document/selector.ts";
import type { Tell } from "../tell/events.ts";

/** Tells of processes that none of an order's nodes runs: a label was mistyped, or is still to come. */
export function tellNowhere(
  { processes }: Pick<Manifest, "processes">,
  nodes: readonly { readonly identity: Identity }[],
  tell: Tell,
): void {
  for (const [name, { on }] of Object.entries(processes)) {
    if (on === null) continue;
    const selector = parseSelector(on);
    if (nodes.some(({ identity }) => matches(selector, identity))) continue;
    tell({
      type: "warning",
      text: `${name} runs nowhere: none of the nodes is what it says under on (${on}).`,
    });
  }
}
