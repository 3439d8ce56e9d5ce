import type { Digest } from "../../lib/text/ids.ts";

/** What is known of a depot's packs, as far as kept releases lead to them. Sizes in inflated bytes. */
export interface Census {
  /** Pack → all that is in it, and what of that some kept release needs. */
  readonly packs: ReadonlyMap<Digest, { readonly bytes: number; readonly live: number }>;
  /** Of each kept tree, the packs that it needs. */
  readonly trees: readonly (readonly Digest[])[];
}

export interface RepackRule {
  /** A pack of which less than this part is needed is rewritten. */
  readonly leastLive: number;
  /** A tree that needs more packs than this gets its smallest ones put together, until it needs half as many. */
  readonly mostPacks: number;
  /** Inflated bytes that one run rewrites at most; what is left is for the next. */
  readonly maxBytes: number;
}

export const REPACK: RepackRule = { leastLive: 0.5, mostPacks: 32, maxBytes: 256 * 2 ** 20 };

/** Packs that are not worth more than this each are put together, however little of them is dead, in bytes. */
const SMALL_BYTES = 8 * 2 ** 20;

/** Which packs to rewrite: the emptiest first. */
export function packsToRewrite({ packs, trees }: Census, rule: RepackRule): ReadonlySet<Digest> {
  const live = (pack: Digest): number => packs.get(pack)?.live ?? 0;
  const wanted = new Set<Digest>();
  for (const [pack, count] of packs) if (count.live < count.bytes * rule.leastLive) wanted.add(pack);
  for (const tree of trees) {
    const many = tree.length - Math.floor(rule.mostPacks / 2);
    if (tree.length <= rule.mostPacks) continue;
    const smallest = tree.toSorted((a, b) => live(a) - live(b)).slice(0, many);
    for (const pack of smallest) if (live(pack) <= SMALL_BYTES) wanted.add(pack);
  }
  const chosen = new Set<Digest>();
  let bytes = 0;
  for (const pack of [...wanted].sort((a, b) => live(a) - live(b))) {
    bytes += live(pack);
    if (bytes > rule.maxBytes) break;
    chosen.add(pack);
  }
  return chosen;
}
