/**
 * How far somebody has read an app's logs, as an argument of a command: of each node a text such as
 * `KEY web.1:1234:2 hooks:80:0`.
 */
import type { KeyId } from "../lib/text/ids.ts";
import type { Command } from "../trust/document/documents.ts";

export interface LogPlace {
  /** Where a line begins, in bytes. */
  readonly at: number;
  /** Lines from there on that were read, too. */
  readonly lines: number;
}

/** By instance. */
export type LogPlaces = ReadonlyMap<string, LogPlace>;

/** What an argument of a command may have. */
const MOST_NODES = 256;
const MOST_CHARS = 4096;
const PLACE = /^([a-z][a-z0-9_.-]*):(\d{1,15}):(\d{1,9})$/;

/** Those of which that much can be told; the others go on from now. */
export function placesArgument(all: ReadonlyMap<KeyId, LogPlaces>): string[] {
  return [...all]
    .map(([node, places]) => {
      const each = [...places].map(([instance, { at, lines }]) => `${instance}:${at}:${lines}`);
      return [node, ...each].join(" ");
    })
    .filter((text) => text.length <= MOST_CHARS)
    .slice(0, MOST_NODES);
}

/** Undefined where nothing is told of the node. */
export function placesFor(argument: Command["args"][string] | undefined, node: KeyId): LogPlaces | undefined {
  if (!Array.isArray(argument)) return undefined;
  const text = argument.find((one) => typeof one === "string" && one.split(" ", 1)[0] === node);
  if (typeof text !== "string") return undefined;
  return new Map(
    text.split(" ").flatMap((word): [string, LogPlace][] => {
      const [, instance, at, lines] = PLACE.exec(word) ?? [];
      return instance === undefined ? [] : [[instance, { at: Number(at), lines: Number(lines) }]];
    }),
  );
}
