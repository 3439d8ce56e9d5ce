import type { Content } from "../api/coding.ts";
import type { KeyId } from "../lib/ids.ts";

/** For each node the last answers that it was given: it may code what it sends after one of them, and we after the last. */
const PER_NODE = 2;
/** Of all texts together. What does not fit is sent in full. */
const MAX_BYTES = 64 * 2 ** 20;

/** What nodes were told, in memory only: forgetting it costs bytes and nothing else. */
export class Told {
  readonly #maxBytes: number;
  /** The node that was told something longest ago comes first. */
  readonly #contents = new Map<KeyId, readonly Content[]>();
  #bytes = 0;

  /** @param maxBytes default 64 MiB */
  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  find(node: KeyId, etag: string | undefined): Content | undefined {
    return this.#contents.get(node)?.find((content) => content.etag === etag);
  }

  keep(node: KeyId, content: Content): void {
    const before = this.#contents.get(node) ?? [];
    const kept = [content, ...before.filter(({ etag }) => etag !== content.etag)].slice(0, PER_NODE);
    this.#forget(node);
    this.#contents.set(node, kept);
    this.#bytes += sizeOf(kept);
    for (const oldest of this.#contents.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#forget(oldest);
    }
  }

  #forget(node: KeyId): void {
    this.#bytes -= sizeOf(this.#contents.get(node) ?? []);
    this.#contents.delete(node);
  }
}

function sizeOf(contents: readonly Content[]): number {
  return contents.reduce((sum, { text }) => sum + text.length, 0);
}
