/** Nodes' caches, by signed commands. */
import type { DepotReader } from "../../depot/seam/depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Command } from "../../trust/document/documents.ts";
import { ask, troubleIn, type Answer } from "../ask/ask.ts";
import { numberOf, refusedBy, runCommand, wordOf, type NamedLine } from "../ask/commands.ts";
import { knownNodes, nodeNamed, selectNodes, type KnownNode } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";

const VALID_MS = 15 * 60_000;
const LONG_MS = 2 * 3_600_000;
/** Of a blob, packs being the longest: who sends more would fill the memory here. */
const MOST_BYTES = 128 * 2 ** 20;
/** Names that one command may hold. */
const BLOBS_AT_ONCE = 256;

/** By name, by `host` of its address, or by a selector. @throws SkeinError NODE_NOT_FOUND, SELECTION_EMPTY */
export async function cacheNodes(
  operator: Operator,
  where: { readonly address?: string | undefined; readonly on?: string | undefined },
  signal: AbortSignal,
): Promise<readonly KnownNode[]> {
  const known = await knownNodes(operator, signal);
  if (where.address === undefined) return selectNodes(known, where.on ?? "all").nodes;
  const host = hostIn(where.address);
  const at = known.filter(({ address }) => address !== null && address === host);
  return at.length > 0 ? at : [nodeNamed(known, where.address)];
}

/** Of `host`, `host:port`, `[fd00::1]:port` or `fd00::1`. */
export function hostIn(address: string): string {
  const [, v6, name] = /^(?:\[(.+)\]|([^:]+))(?::\d+)?$/.exec(address) ?? [];
  return v6 ?? name ?? address;
}

/** What came of a command: those that did it are told of, whatever became of the others. */
export interface CacheAnswers<T = Answer> {
  /** Of the nodes that did it. */
  readonly done: readonly T[];
  /** To be thrown when that was told: NODES_SILENT, or what the first node that failed said. */
  readonly trouble: SkeinError | null;
}

/** Runs one command on nodes' caches. */
export async function onCaches(
  operator: Operator,
  nodes: readonly KnownNode[],
  kind: string,
  args: Command["args"],
  signal: AbortSignal,
  onLine?: (line: NamedLine) => void,
): Promise<CacheAnswers> {
  const validMs = kind === "cache-repair" || kind === "cache-fetch" ? LONG_MS : VALID_MS;
  const answers = await ask(operator, { kind, app: null, env: null, args, nodes, validMs }, signal, onLine);
  return { done: answers.filter(({ outcome }) => outcome === "ok"), trouble: troubleIn(answers) };
}

/** What one node's cache holds. */
export interface Held {
  readonly node: string;
  readonly blobs: number;
  readonly bytes: number;
  /** How many of those that were asked for it does not hold. */
  readonly missing: number;
}

/** Asks nodes what their caches hold, and how many of `wanted` they lack. */
export async function heldOn(
  operator: Operator,
  nodes: readonly KnownNode[],
  wanted: readonly string[],
  signal: AbortSignal,
): Promise<CacheAnswers<Held>> {
  const tally = new Tally(wanted);
  const { done, trouble } = await onCaches(operator, nodes, "cache-list", {}, signal, (line) =>
    tally.take(line),
  );
  return { done: done.map(({ node }) => tally.of(node)), trouble };
}

/** Counts as lines come: a cache may hold more blobs than lines of an answer are kept. */
export class Tally {
  readonly #wanted: ReadonlySet<string>;
  readonly #held = new Map<string, Held>();

  constructor(wanted: readonly string[]) {
    this.#wanted = new Set(wanted);
  }

  take(line: NamedLine): void {
    if (line.type !== "blob") return;
    const { blobs, bytes, missing } = this.of(line.name);
    const isWanted = this.#wanted.has(wordOf(line, "blob") ?? "");
    this.#held.set(line.name, {
      node: line.name,
      blobs: blobs + 1,
      bytes: bytes + numberOf(line, "bytes"),
      missing: isWanted ? missing - 1 : missing,
    });
  }

  of(node: string): Held {
    return this.#held.get(node) ?? { node, blobs: 0, bytes: 0, missing: this.#wanted.size };
  }
}

/** What one node's cache holds, read over the line that commands take. Nothing of it is believed unproved. */
export function cacheOf(operator: Operator, node: KnownNode): DepotReader {
  const { name } = node.identity;
  const lines = async function* (kind: string, args: Command["args"], signal: AbortSignal) {
    const wish = { kind, app: null, env: null, args, nodes: [node], validMs: LONG_MS };
    for await (const line of runCommand(operator, wish, signal)) {
      if (line.type !== "result") yield line;
      else if (line["ok"] !== true) throw refusedBy(line, "BLOB_MISSING");
    }
  };
  const list = async function* (prefix: string, signal: AbortSignal) {
    const held: string[] = [];
    for await (const line of lines("cache-list", {}, signal)) held.push(wordOf(line, "blob"));
    yield* held.filter((blob) => blob.startsWith(prefix)).sort();
  };
  return {
    kind: "cache",
    name: `the cache of ${name}`,
    list,
    async has(names, signal) {
      const held = new Set(await Array.fromAsync(list("", signal)));
      return new Set(names.filter((one) => held.has(one)));
    },
    async *get(blob, signal, range) {
      const { start = 0, end = Infinity } = range ?? {};
      let at = 0;
      for await (const line of lines("cache-read", { blobs: [blob] }, signal)) {
        const bytes = Buffer.from(wordOf(line, "bytes"), "base64");
        yield bytes.subarray(Math.max(0, start - at), Math.max(0, end - at));
        at += bytes.length;
        if (at > MOST_BYTES)
          throw new SkeinError("BAD_REQUEST", `${name} sends more of ${blob} than a blob has`);
      }
    },
  };
}

/** Has nodes fetch blobs from where they get releases, and keep them. One that fails holds up no other. */
export async function fetchInto(
  operator: Operator,
  nodes: readonly KnownNode[],
  blobs: readonly string[],
  signal: AbortSignal,
): Promise<CacheAnswers<KnownNode>> {
  let going = nodes;
  let first: SkeinError | null = null;
  for (let at = 0; at < blobs.length && going.length > 0; at += BLOBS_AT_ONCE) {
    const some = blobs.slice(at, at + BLOBS_AT_ONCE);
    const { done, trouble } = await onCaches(operator, going, "cache-fetch", { blobs: some }, signal);
    first ??= trouble;
    going = going.filter(({ identity }) => done.some(({ node }) => node === identity.name));
  }
  return { done: going, trouble: first };
}
