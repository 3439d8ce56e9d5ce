/**
 * Who asks whom for a piece of a blob, as functions of data. The same code runs in agents and in the simulation.
 *
 * A blob is cut into pieces of at most 256 KiB, and pieces are dealt out to stripes. In each stripe the nodes have an
 * order of their own (a hash of stripe and node), which makes a tree: a node asks its parent, who fetches what it
 * lacks from its own parent, and the first in the order asks the origin (a hub, a bucket). So the origin gives each
 * piece about once, however many nodes there are and whenever they come; every stripe has another tree, so that all
 * nodes carry about the same load; and because a node only ever asks nodes that stand before it in an order that does
 * not depend on what anybody knows, no two can wait for each other, even where they know of different nodes.
 */

/**
 * More stripes spread the load more evenly; each node holds at most so many connections to parents at a time, where
 * trees made for each single piece would have everybody connected with everybody.
 */
const STRIPES = 64;
/** Children of a node. More make trees flatter, and the load of one stripe larger: a parent gives so many copies. */
const ARITY = 4;
/** Below this, nodes times bytes is less than what asking around costs, in bytes. */
const DIRECT_BYTES = 1024 * 1024;
const SMALL_BYTES = 64 * 1024;

interface Order {
  readonly nodes: readonly string[];
  readonly at: ReadonlyMap<string, number>;
}

/** The stripe of the piece with this number. Neighbours lie in different ones, so that they come from different parents. */
export function stripeOf(blob: string, piece: number): number {
  return (fnv(blob) + piece) % STRIPES;
}

/** Whether so few bytes are better had from the origin at once than asked for among so many peers. */
export function isDirect(bytes: number, peers: number): boolean {
  return peers === 0 || (bytes < SMALL_BYTES && bytes * peers < DIRECT_BYTES);
}

/** The orders in the stripes of the nodes that somebody knows of. */
export class Forest {
  readonly #nodes: readonly string[];
  /** stripe → its order, and where each node stands in it. Made when first asked for. */
  readonly #orders = new Map<number, Order>();

  constructor(nodes: Iterable<string>) {
    this.#nodes = [...new Set(nodes)];
  }

  /** How many others `self` knows. */
  others(self: string): number {
    return this.#nodes.length - (this.#nodes.includes(self) ? 1 : 0);
  }

  /**
   * Whom `self`, one of the nodes, asks for a piece of this stripe; undefined: the origin.
   *
   *   parent = before[floor((before.length - 1) / ARITY)]     of those before `self` who are not `out`
   */
  parent(stripe: number, self: string, out: ReadonlySet<string>): string | undefined {
    const { nodes, at } = this.#order(stripe);
    const own = at.get(self) ?? 0;
    if (out.size === 0) return own === 0 ? undefined : nodes[Math.floor((own - 1) / ARITY)];
    const before = nodes.slice(0, own).filter((node) => !out.has(node));
    return before[Math.floor((before.length - 1) / ARITY)];
  }

  /** How many nodes a piece of this stripe passes before it comes to `self`: each may have to wait for the one before. */
  depth(stripe: number, self: string, out: ReadonlySet<string>): number {
    const { nodes, at } = this.#order(stripe);
    let before = nodes.slice(0, at.get(self) ?? 0).filter((node) => !out.has(node)).length;
    let depth = 0;
    for (; before > 0; before = Math.floor((before - 1) / ARITY)) depth += 1;
    return depth;
  }

  /**
   * Who may have a piece when the origin does not answer, the likeliest first. Only what they hold may be asked of
   * these: who stands after `self` may be waiting for it.
   */
  holders(stripe: number, self: string, out: ReadonlySet<string>): readonly string[] {
    return this.#order(stripe).nodes.filter((node) => node !== self && !out.has(node));
  }

  #order(stripe: number): Order {
    const known = this.#orders.get(stripe);
    if (known !== undefined) return known;
    const placed = this.#nodes.map((node) => ({ node, at: place(stripe, node) }));
    placed.sort((a, b) => a.at - b.at || (a.node < b.node ? -1 : 1));
    const nodes = placed.map(({ node }) => node);
    const order = { nodes, at: new Map(nodes.map((node, n) => [node, n])) };
    this.#orders.set(stripe, order);
    return order;
  }
}

/** Where a node stands in a stripe: every bit of both counts (the finaliser of MurmurHash3). */
function place(stripe: number, node: string): number {
  let h = fnv(node) ^ Math.imul(stripe + 1, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** FNV-1a over a text's UTF-16 units. */
function fnv(text: string): number {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193);
  return sum >>> 0;
}
