import { SkeinError } from "../../lib/errors/errors.ts";

/** What a selector looks at. */
export interface Selectable {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A selector as a tree. `word` is a bare word: a node's name, or a label that is `true`. */
export type Selector =
  | { readonly kind: "all" }
  | { readonly kind: "word"; readonly word: string }
  | { readonly kind: "label"; readonly key: string; readonly value: string; readonly equal: boolean }
  | { readonly kind: "not"; readonly of: Selector }
  | { readonly kind: "and" | "or"; readonly of: readonly Selector[] };

/** Deep enough for any person, shallow enough for the stack. */
const MAX_DEPTH = 32;
const TOKEN = /\s*(!=|[&|!()=]|[A-Za-z0-9*][A-Za-z0-9_.:*-]*)/y;
const WORD = /^[A-Za-z0-9*]/;

/**
 * Reads `role=web & (zone=a | !canary) & env!=prod`, `web3`, `all`. `!` binds before `&`, `&` before `|`.
 * `*` inside a value or a node's name stands for any characters; `name=web3` is the node of that name and no label.
 * @throws SkeinError SELECTOR_BAD
 */
export function parseSelector(text: string): Selector {
  const tokens = tokenize(text);
  let at = 0;
  const peek = (): string | undefined => tokens[at];
  const bad = (): SkeinError => {
    const found = peek();
    const where = found === undefined ? "it ends too early" : `'${found}' is not expected there`;
    return new SkeinError("SELECTOR_BAD", `selector '${text}': ${where}`, { data: { selector: text } });
  };
  const list = (
    kind: "and" | "or",
    sign: string,
    next: (depth: number) => Selector,
    depth: number,
  ): Selector => {
    const of = [next(depth)];
    while (peek() === sign) {
      at += 1;
      of.push(next(depth));
    }
    const [only] = of;
    return of.length === 1 && only !== undefined ? only : { kind, of };
  };
  const either = (depth: number): Selector => list("or", "|", both, depth);
  const both = (depth: number): Selector => list("and", "&", unit, depth);
  const unit = (depth: number): Selector => {
    const token = peek();
    if (token === undefined || depth > MAX_DEPTH) throw bad();
    if (token === "!") {
      at += 1;
      return { kind: "not", of: unit(depth + 1) };
    }
    if (token === "(") return group(depth);
    return term(token);
  };
  const group = (depth: number): Selector => {
    at += 1;
    const inner = either(depth + 1);
    if (peek() !== ")") throw bad();
    at += 1;
    return inner;
  };
  const term = (token: string): Selector => {
    if (!WORD.test(token)) throw bad();
    at += 1;
    const sign = peek();
    if (sign !== "=" && sign !== "!=")
      return token === "all" ? { kind: "all" } : { kind: "word", word: token };
    at += 1;
    const value = peek();
    if (value === undefined || !WORD.test(value) || token.includes("*")) throw bad();
    at += 1;
    return { kind: "label", key: token, value, equal: sign === "=" };
  };
  const whole = either(0);
  if (at !== tokens.length) throw bad();
  return whole;
}

export function isSelector(text: string): boolean {
  try {
    parseSelector(text);
    return true;
  } catch {
    return false;
  }
}

/** Does the selector name this node? `key!=value` also holds where the label is absent. */
export function matches(selector: Selector, node: Selectable): boolean {
  switch (selector.kind) {
    case "all":
      return true;
    case "word":
      return globMatches(selector.word, node.name) || labelOf(node, selector.word) === "true";
    case "label":
      return selector.equal === labelMatches(selector.key, selector.value, node);
    case "not":
      return !matches(selector.of, node);
    case "and":
      return selector.of.every((part) => matches(part, node));
    case "or":
    default:
      return selector.of.some((part) => matches(part, node));
  }
}

function labelMatches(key: string, glob: string, node: Selectable): boolean {
  const held = key === "name" ? node.name : labelOf(node, key);
  return held !== undefined && globMatches(glob, held);
}

function labelOf(node: Selectable, key: string): string | undefined {
  return Object.hasOwn(node.labels, key) ? node.labels[key] : undefined;
}

/** Linear in both lengths for one `*`, and never worse than their product: selectors come from the network too. */
export function globMatches(glob: string, text: string): boolean {
  let g = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (glob[g] === "*") {
      star = g++;
      resume = t;
    } else if (g < glob.length && glob[g] === text[t]) {
      g += 1;
      t += 1;
    } else if (star >= 0) {
      g = star + 1;
      t = ++resume;
    } else return false;
  }
  while (glob[g] === "*") g += 1;
  return g === glob.length;
}

function tokenize(text: string): string[] {
  const tokens: string[] = [];
  const source = text.trimEnd();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(source);
    if (match?.[1] === undefined) {
      throw new SkeinError("SELECTOR_BAD", `selector '${text}': cannot read '${source.slice(from).trim()}'`, {
        data: { selector: text, at: from },
      });
    }
    tokens.push(match[1]);
  }
  return tokens;
}
