/**
 * What a client may store in the hub's depot. Blobs belong to no app, so whoever may deploy one app writes where all
 * others read: each blob is held to what its name says before it gets that name, and an index that leads to a release
 * is not replaced by one of somebody who has nothing to say there.
 */
import type { ReadRange } from "../../depot/seam/depot.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import { digestOf, type Digest, type KeyId, type TreeId } from "../../lib/text/ids.ts";
import { bytesBlob } from "../../release/fetch/blobs.ts";
import { HEAD_BYTES, PACK_BYTES, packName, PRELUDE_BYTES } from "../../release/tree/pack.ts";
import type { PublishedTree } from "../../release/tree/published.ts";
import { decodeIndex, encodeIndex, INDEX_BYTES, indexName } from "../../release/tree/release-index.ts";
import { indexOf, isUnreadable, TABLE_BYTES } from "../../release/fetch/tree-blobs.ts";
import type { Release } from "../../trust/document/documents.ts";
import { readUnverified } from "../../trust/document/envelope.ts";
import { releaseKeys } from "../../trust/charter/rights.ts";
import type { Charters } from "../cluster/charters.ts";
import type { Releases } from "../orders/releases.ts";
import type { Core } from "../records/core.ts";

/** A pack's frames, and its head. */
const MAX_PACK_BYTES = PACK_BYTES + HEAD_BYTES + PRELUDE_BYTES;
/** A table that does not compress, and what zstd adds to it. */
const MAX_TABLE_BYTES = TABLE_BYTES + 2 ** 20;
/** Largest blob under a name that no release leads to. */
const MAX_OTHER_BYTES = 4 * 2 ** 30;
/** Indexes of which it is remembered that they lead to all of their tree. */
const PROVEN = 1000;

/** What an upload is held to. */
export interface Admission {
  readonly maxBytes: number;
  readonly prove?: (read: ReadRange) => Promise<void>;
}

export interface Writer {
  readonly kid: KeyId;
  readonly isAdmin: boolean;
}

export interface AdmissionParts {
  readonly core: Core;
  readonly charters: Charters;
  readonly releases: Releases;
}

export class Admissions {
  readonly #parts: AdmissionParts;
  /** Digests of indexes. */
  readonly #proven = new Map<Digest, true>();

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /**
   * For all but indexes.
   * @throws SkeinError BAD_REQUEST, NOT_AUTHORISED
   */
  of(name: string, info: { readonly size: number; readonly sha256: string }, writer: Writer): Admission {
    const [, word, id = ""] = /^(packs|rows|since)\/([0-9a-f]{64})$/.exec(name) ?? [];
    if (word === undefined) return other(name, writer);
    const folder = word as "packs" | "rows" | "since";
    if (folder === "packs" && id !== info.sha256) throw refused(name, "is to hold bytes of another digest");
    const { lanes } = this.#parts.core;
    return {
      maxBytes: folder === "packs" ? MAX_PACK_BYTES : MAX_TABLE_BYTES,
      // One at a time: each may take as much memory as the largest there is.
      prove: async (read) =>
        await lanes.run("prove", async () => {
          // Loaded here: an idle hub stays small.
          const { provePack, proveTable } = await import("../../release/fetch/prove-blob.ts");
          await (folder === "packs" ? provePack(read, info.size) : proveTable(folder, id, read, info.size));
        }),
    };
  }

  /**
   * Stores a tree's index, unless the one that is there leads to all of the tree and the writer may not deploy every
   * app that has it. Which deltas there are, the hub knows itself.
   * @throws SkeinError BAD_REQUEST
   */
  async putIndex(tree: TreeId, bytes: Uint8Array, writer: Writer): Promise<void> {
    const { core } = this.#parts;
    const { depot, signal } = core;
    const { packs } = decodeIndex(bytes);
    await core.lanes.run(`index ${tree}`, async () => {
      const there = await indexOf(depot, tree, signal);
      if (there?.packs.join() === packs.join()) return;
      if (there !== undefined && (await this.#mustStay(tree, there.packs, writer))) return;
      const index = encodeIndex({ packs, deltas: there?.deltas ?? [] });
      await depot.put(indexName(tree), bytesBlob(index), signal);
    });
  }

  async #mustStay(tree: TreeId, packs: readonly Digest[], writer: Writer): Promise<boolean> {
    const { charters, releases } = this.#parts;
    const { charter } = charters.need();
    const named = releases.ofTree(tree).map((envelope) => readUnverified(envelope, "release.1"));
    if (named.every(({ app }) => releaseKeys(charter, app).has(writer.kid))) return false;
    return await this.#leadsToAll(named, packs);
  }

  async #leadsToAll(named: readonly Release[], packs: readonly Digest[]): Promise<boolean> {
    const { depot, signal } = this.#parts.core;
    const names = packs.map(packName);
    if ((await depot.has(names, signal)).size < new Set(names).size) return false;
    for (const { tree, rows, since } of named) {
      const key = digestOf([tree, rows, since, ...packs].join());
      if (this.#proven.has(key) || (await this.#isProven({ tree, rows, since }))) {
        keepNewest(this.#proven, PROVEN, key, true);
        return true;
      }
    }
    return false;
  }

  async #isProven(tree: PublishedTree): Promise<boolean> {
    const { depot, signal, lanes } = this.#parts.core;
    const { verifyTree } = await import("../../release/export/verify-tree.ts");
    try {
      await lanes.run("prove", async () => await verifyTree([depot], tree, signal));
      return true;
    } catch (err) {
      if (isUnreadable(err) || isSkeinError(err, "TREE_REFUSED")) return false;
      throw err;
    }
  }
}

/** The tree whose index a name is. */
export function treeOfIndex(name: string): TreeId | undefined {
  const [, tree] = /^index\/([0-9a-f]{64})$/.exec(name) ?? [];
  return tree as TreeId | undefined;
}

export const MAX_INDEX_BYTES = INDEX_BYTES;

/** Deltas, and what a collection goes by (release/upkeep), are made here. */
function other(name: string, { isAdmin }: Writer): Admission {
  if (/^(?:deltas|upkeep|retired|owners)(?:\/|$)/.test(name))
    throw refused(name, "is the hub's own to write");
  if (!isAdmin) {
    throw new SkeinError("NOT_AUTHORISED", `${name} is no blob of a release: this needs the right admin`, {
      data: { scope: "admin", blob: name },
    });
  }
  return { maxBytes: MAX_OTHER_BYTES };
}

function refused(name: string, why: string): SkeinError {
  return new SkeinError("BAD_REQUEST", `${name} ${why}`, { data: { blob: name } });
}
