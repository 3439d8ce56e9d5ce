import { isAlias, isMap, isScalar, isSeq, type Document, type LineCounter } from "yaml";
import type { KeyPath } from "./problem.ts";

/** Lines and columns count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Where `path` stands in the text: its key (`atKey`) or its value; else the nearest thing above it that is there. */
export function placeOf(document: Document, lines: LineCounter, path: KeyPath, atKey: boolean): Place {
  let node: unknown = document.contents;
  let offset = rangeStart(node) ?? 0;
  for (const [depth, part] of path.entries()) {
    const step = childOf(itself(document, node), part);
    if (step === undefined) break;
    const last = depth === path.length - 1;
    offset = (last && atKey ? step.key : rangeStart(step.value)) ?? step.key ?? offset;
    node = step.value;
  }
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

/** What stands at `path`, itself and not a name for it. */
export function nodeAt(document: Document, path: KeyPath): unknown {
  let node: unknown = document.contents;
  for (const part of path) node = childOf(itself(document, node), part)?.value;
  return itself(document, node);
}

const itself = (document: Document, node: unknown): unknown =>
  isAlias(node) ? node.resolve(document) : node;

interface Step {
  readonly key: number | undefined;
  readonly value: unknown;
}

function childOf(node: unknown, part: string | number): Step | undefined {
  if (isSeq(node) && typeof part === "number") {
    const value = node.items[part];
    return value === undefined ? undefined : { key: rangeStart(value), value };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find(({ key }) => String(isScalar(key) ? key.value : key) === String(part));
  return pair === undefined ? undefined : { key: rangeStart(pair.key), value: pair.value };
}

function rangeStart(node: unknown): number | undefined {
  if (typeof node !== "object" || node === null || !("range" in node)) return undefined;
  const range: unknown = node.range;
  return Array.isArray(range) && typeof range[0] === "number" ? range[0] : undefined;
}
