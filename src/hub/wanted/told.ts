import { sharedOf, type Content, type Shared } from "../../api/body-coding.ts";
import { unpooled } from "../../lib/memory/free.ts";
import type { KeyId } from "../../lib/text/ids.ts";

/** Contents of the last answers that each node was given: it may code a report after one of them while it is sent another. */
const PER_NODE = 2;
/** Of all texts together; packed as well (api/body-coding.ts), they take half as much again. What does not fit is sent in full. */
const MAX_BYTES = 40 * 2 ** 20;

interface Talk {
  readonly contents: readonly Content[];
  /** The last report, as it came. */
  readonly said: Buffer | undefined;
}

const NOTHING: Talk = { contents: [], said: undefined };

/** What nodes were told and said, in memory only: forgetting it costs bytes and nothing else. */
export class Told {
  readonly #maxBytes: number;
  /** The node that was heard of longest ago comes first. */
  readonly #talks = new Map<KeyId, Talk>();
  #bytes = 0;

  /** @param maxBytes default 40 MiB */
  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** What an answer to a node that holds this content may be coded after. */
  after(node: KeyId, etag: string | undefined): Shared | undefined {
    const { contents, said } = this.#talks.get(node) ?? NOTHING;
    const content = contents.find((one) => one.etag === etag);
    return content === undefined ? undefined : sharedOf(content, said);
  }

  /** What a node names. */
  named(node: KeyId, tag: string): Shared | undefined {
    const { contents, said } = this.#talks.get(node) ?? NOTHING;
    return contents
      .flatMap((content) => [sharedOf(content), ...(said === undefined ? [] : [sharedOf(content, said)])])
      .find((shared) => shared.tag === tag);
  }

  /** An answer in full begins anew: who needs one has forgotten what it said, too. */
  keep(node: KeyId, content: Content, isFull: boolean): void {
    const { contents, said } = this.#talks.get(node) ?? NOTHING;
    const others = contents.filter(({ etag }) => etag !== content.etag);
    const kept = [content, ...others].slice(0, PER_NODE);
    this.#set(node, { contents: kept, said: isFull ? undefined : said });
  }

  /** A report was taken. Kept only of nodes that were told something: others code nothing. */
  heard(node: KeyId, said: Buffer): void {
    const talk = this.#talks.get(node);
    if (talk !== undefined) this.#set(node, { ...talk, said: unpooled(said) });
  }

  #set(node: KeyId, talk: Talk): void {
    this.#forget(node);
    this.#talks.set(node, talk);
    this.#bytes += sizeOf(talk);
    for (const oldest of this.#talks.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#forget(oldest);
    }
  }

  #forget(node: KeyId): void {
    this.#bytes -= sizeOf(this.#talks.get(node) ?? NOTHING);
    this.#talks.delete(node);
  }
}

/** Parts that several nodes were told are counted for each, though they take their memory once. */
function sizeOf({ contents, said }: Talk): number {
  const parts = contents.flatMap((content) => content.parts);
  return parts.reduce((sum, { length }) => sum + length, said?.length ?? 0);
}
