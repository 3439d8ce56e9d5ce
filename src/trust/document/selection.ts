import { SkeinError } from "../../lib/errors/errors.ts";
import { matches, parseSelector, type Selectable, type Selector } from "./selector.ts";

/**
 * The nodes a person means, and the selector as it is signed: with every bare word spelled out, so that a node
 * enrolled later under that name, or with that label, cannot change what was meant.
 * @param text undefined: all nodes
 * @throws SkeinError SELECTOR_BAD, SELECTOR_AMBIGUOUS, NODE_NOT_FOUND for a word that is neither, SELECTION_EMPTY
 */
export function select<T extends Selectable>(
  text: string | undefined,
  nodes: readonly T[],
): { readonly selector: string; readonly nodes: readonly T[] } {
  const selector = spelledOut(parseSelector(text ?? "all"), nodes);
  const chosen = nodes.filter((node) => matches(selector, node));
  const spelled = selectorText(selector);
  if (chosen.length > 0) return { selector: spelled, nodes: chosen };
  throw new SkeinError("SELECTION_EMPTY", `no node matches '${text ?? "all"}'`, {
    data: { selector: spelled, nodes: nodes.length },
  });
}

/** The selector in one line, with no more parentheses than it needs. */
export function selectorText(selector: Selector): string {
  switch (selector.kind) {
    case "all":
      return "all";
    case "word":
      return selector.word;
    case "label":
      return `${selector.key}${selector.equal ? "=" : "!="}${selector.value}`;
    case "not":
      return `!${inParentheses(selector.of, ["and", "or"])}`;
    case "and":
      return selector.of.map((part) => inParentheses(part, ["and", "or"])).join(" & ");
    case "or":
    default:
      return selector.of.map((part) => inParentheses(part, ["or"])).join(" | ");
  }
}

function inParentheses(selector: Selector, kinds: readonly Selector["kind"][]): string {
  const text = selectorText(selector);
  return kinds.includes(selector.kind) ? `(${text})` : text;
}

function spelledOut(selector: Selector, nodes: readonly Selectable[]): Selector {
  switch (selector.kind) {
    case "word":
      return spelledWord(selector.word, nodes);
    case "not":
      return { kind: "not", of: spelledOut(selector.of, nodes) };
    case "and":
    case "or":
      return { kind: selector.kind, of: selector.of.map((part) => spelledOut(part, nodes)) };
    case "all":
    case "label":
    default:
      return selector;
  }
}

function spelledWord(word: string, nodes: readonly Selectable[]): Selector {
  const byName: Selector = { kind: "label", key: "name", value: word, equal: true };
  const byLabel: Selector = { kind: "label", key: word, value: "true", equal: true };
  const isName = nodes.some((node) => matches(byName, node));
  // A word with a `*` can only be names: labels are looked up, not searched.
  const isLabel = nodes.some((node) => Object.hasOwn(node.labels, word));
  if (isName && isLabel) {
    throw new SkeinError("SELECTOR_AMBIGUOUS", `'${word}' is both a node and a label`, {
      hint: `Write name=${word} for the node, or ${word}=true for the label.`,
      data: { word },
    });
  }
  if (isName || word.includes("*")) return byName;
  if (isLabel) return byLabel;
  throw new SkeinError("NODE_NOT_FOUND", `'${word}' is neither a node nor a label`, {
    hint: `See skein node ls; write ${word}=true for a label that no node has yet.`,
    data: { word },
  });
}
