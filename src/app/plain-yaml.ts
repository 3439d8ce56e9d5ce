import { isAlias, isCollection, isMap, isScalar, visit, type Document, type Node } from "yaml";
import { isMap as isRecord } from "./is-map.ts";
import { isEnvironment } from "./overlay.ts";
import type { KeyPath } from "./problem.ts";
import { nodeAt } from "./yaml-place.ts";

/** Something that YAML allows and a manifest does not. */
export interface NotPlain {
  /** In the text. */
  readonly offset: number;
  readonly message: string;
}

/** Deeper than any manifest, and shallow enough for whoever goes through it. */
const MAX_DEPTH = 64;
const CORE_TAGS = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/;

/**
 * What would be read as something else than it looks like: `targets: !env=prod web` is, to YAML, `web` with a tag that
 * nobody knows.
 */
export function notPlainIn(document: Document, text: string): NotPlain[] {
  const found: NotPlain[] = [];
  const { yaml } = document.directives ?? {};
  if (yaml?.explicit === true && yaml.version !== "1.2")
    found.push({ offset: 0, message: `a manifest is YAML 1.2: leave out %YAML ${yaml.version}` });
  visit(document, {
    Node: (key, node, path) => {
      if (path.filter(isCollection).length > MAX_DEPTH) {
        found.push({ offset: startOf(node), message: `it is nested more than ${MAX_DEPTH} deep` });
        return visit.BREAK;
      }
      const why = key === "key" ? whyNoKey(node, document) : undefined;
      const message = why ?? whyNotPlain(node) ?? whyNoAlias(node, document);
      if (message !== undefined) found.push({ offset: startOf(node), message });
      else if (isTagged(node)) found.push(tagProblem(text, node));
      return undefined;
    },
  });
  return found;
}

function whyNoKey(node: Node, document: Document): string | undefined {
  if (isCollection(node)) return "a key is a word";
  const said = isAlias(node) ? node.resolve(document) : node;
  // What reads objects key by key passes over it, or takes what stands there for what all others inherit.
  const isLost = isScalar(said) && said.value === "__proto__";
  return isLost ? "nothing can be called __proto__: choose another name" : undefined;
}

function whyNotPlain(node: Node): string | undefined {
  const isNul = isScalar(node) && typeof node.value === "string" && node.value.includes("\0");
  return isNul ? "it holds a zero byte, which no program can be given" : undefined;
}

function whyNoAlias(node: Node, document: Document): string | undefined {
  if (!isAlias(node) || node.resolve(document) !== undefined) return undefined;
  return `YAML takes *${node.source} for an alias: put the whole value in quotes`;
}

const isTagged = (node: Node): boolean =>
  !isAlias(node) && node.tag !== undefined && !CORE_TAGS.test(node.tag);

/** The node begins behind its tag. */
function tagProblem(text: string, node: Node): NotPlain {
  let offset = Math.max(0, text.lastIndexOf("!", startOf(node)));
  while (text[offset - 1] === "!") offset -= 1;
  const tag = /^[^\s,\]}]+/.exec(text.slice(offset))?.[0] ?? "!";
  return { offset, message: `YAML takes ${tag} for a tag: put the whole value in quotes` };
}

const startOf = (node: Node): number => node.range?.[0] ?? 0;

/**
 * Numbers in an environment become the text that stands there: who writes `VERSION: 1.10`, or an id of twenty digits,
 * means that. Changes `data`, which is the document's.
 */
export function keepNumbersAsWritten(document: Document, data: unknown, at: KeyPath = []): void {
  if (!isRecord(data)) return;
  if (isEnvironment(at)) return keepIn(document, nodeAt(document, at), data);
  for (const name of Object.keys(data)) {
    const path = [...at, name];
    if (mayHoldEnvironment(path)) keepNumbersAsWritten(document, data[name], path);
  }
}

/** @param map of these variables: many environments may share one, so that it is gone through once for each */
function keepIn(document: Document, map: unknown, data: Record<string, unknown>): void {
  for (const { key, value } of isMap(map) ? map.items : []) {
    const said = isAlias(value) ? value.resolve(document) : value;
    const name = isScalar(key) ? String(key.value) : "";
    if (typeof data[name] === "number" && isScalar(said) && said.source !== undefined)
      data[name] = said.source;
  }
}

/** `environments.NAME.processes.NAME.env` is the longest. */
function mayHoldEnvironment(path: KeyPath): boolean {
  const inner = path[0] === "environments" ? path.slice(2) : path;
  return inner.length === 0 || inner[0] === "env" || (inner[0] === "processes" && inner.length <= 3);
}
