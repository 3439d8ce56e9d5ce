/**
 * Many nodes that fetch one blob at once, in rounds, over the very code by which real nodes pick whom to ask. In a
 * round a node gives as many pieces as its line carries; what it gives can be passed on in the next one.
 */
import { Forest, stripeOf } from "./picking.ts";

export interface SimulationOptions {
  readonly nodes: number;
  readonly pieces: number;
  /** Pieces that a node can give in a round. Default 8. */
  readonly up?: number;
  /** The same of the origin. Default 16. */
  readonly originUp?: number;
  /** Pieces of its own that a node has asked for at a time. Default 16. */
  readonly window?: number;
  /** The round in which a node begins. Default: all in the first. */
  readonly begins?: (node: number) => number;
  /** Nodes that never answer, and fetch nothing. Default: none. */
  readonly dead?: (node: number) => boolean;
  /** Nodes that give at most one piece in so many rounds. Default: none. */
  readonly slow?: (node: number) => number | undefined;
  /** Whether a node knows of another. Default: all of all. */
  readonly knows?: (node: number, other: number) => boolean;
  /** Rounds after which an asked peer is put aside for good. Default 20. */
  readonly patience?: number;
}

export interface SimulationResult {
  /** What the origin gave, in copies of the blob. */
  readonly copies: number;
  /** Until the last node had everything; slow and dead nodes are not waited for. */
  readonly rounds: number;
  /** What the busiest node gave, in copies. */
  readonly busiest: number;
}

const DEFAULTS = { up: 8, originUp: 16, window: 16, patience: 20 } as const;
const MOST_ROUNDS = 1_000_000;

interface Request {
  readonly from: SimNode;
  readonly piece: number;
}

interface Asked {
  /** Undefined: the origin. */
  readonly of: SimNode | undefined;
  /** Since when it could have answered. */
  round: number;
}

/** A blob of `pieces` pieces comes to `nodes` nodes. @throws RangeError when it does not come to an end */
export function simulate(options: SimulationOptions): SimulationResult {
  const world = new World(options);
  for (let round = 0; ; round++) {
    if (world.isDone()) return world.result(round);
    if (round >= MOST_ROUNDS) throw new RangeError("the simulated nodes wait for ever");
    world.step(round);
  }
}

class World {
  readonly #options: SimulationOptions;
  readonly #nodes: readonly SimNode[];
  readonly #byName: ReadonlyMap<string, SimNode>;
  readonly #origin = new Server(() => true);
  #originGave = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const names = Array.from({ length: options.nodes }, (_, n) => `node-${n}`);
    const { knows } = options;
    const all = new Forest(names);
    this.#nodes = names.map((name, n) => {
      const known = (): Forest => new Forest(names.filter((_, other) => other === n || knows?.(n, other)));
      return new SimNode(n, name, knows === undefined ? all : known());
    });
    this.#byName = new Map(names.map((name, n) => [name, this.#nodes[n] as SimNode]));
  }

  isDone(): boolean {
    const { dead, slow, pieces } = this.#options;
    return this.#nodes.every(
      (node) => node.have.size === pieces || dead?.(node.n) === true || slow?.(node.n) !== undefined,
    );
  }

  result(rounds: number): SimulationResult {
    const { pieces } = this.#options;
    const busiest = Math.max(...this.#nodes.map(({ gave }) => gave)) / pieces;
    return { copies: this.#originGave / pieces, rounds, busiest };
  }

  step(round: number): void {
    const live = this.#nodes.filter(({ n }) => this.#options.dead?.(n) !== true);
    for (const node of live) if (round >= (this.#options.begins?.(node.n) ?? 0)) this.#want(node);
    for (const node of live) this.#ask(node, round);
    const given = this.#origin.serve(this.#options.originUp ?? DEFAULTS.originUp);
    this.#originGave += given.length;
    for (const node of live) given.push(...this.#serve(node, round));
    // What arrives in a round can be passed on in the next.
    for (const { from, piece } of given) from.take(piece);
  }

  #serve(node: SimNode, round: number): readonly Request[] {
    const { slow, up = DEFAULTS.up } = this.#options;
    const each = slow?.(node.n);
    const most = each === undefined ? up : Number(round % each === 0);
    const answered = node.server.serve(most);
    node.gave += answered.length;
    for (const { piece } of node.server.queue) if (!node.have.has(piece)) node.want(piece);
    return answered;
  }

  /** Keeps the window full. */
  #want(node: SimNode): void {
    const { pieces, window = DEFAULTS.window } = this.#options;
    while (node.own < window && node.next < pieces) node.wantOwn();
  }

  #ask(node: SimNode, round: number): void {
    for (const [piece, asked] of node.wants) {
      if (asked !== undefined && this.#isHopeful(asked, piece, round)) continue;
      if (asked?.of !== undefined) node.aside.add(asked.of.name);
      const name = node.forest.parent(stripeOf("blob", piece), node.name, node.aside);
      const parent = name === undefined ? undefined : this.#byName.get(name);
      node.wants.set(piece, { of: parent, round });
      (parent?.server ?? this.#origin).queue.push({ from: node, piece });
    }
  }

  /** Who waits himself says so, and is waited for: only who has a piece and does not give it, or is silent, is passed over. */
  #isHopeful(asked: Asked, piece: number, round: number): boolean {
    const { patience = DEFAULTS.patience, dead } = this.#options;
    if (asked.of === undefined) return true;
    if (dead?.(asked.of.n) !== true && !asked.of.have.has(piece)) asked.round = round;
    return round < asked.round + patience;
  }
}

class Server {
  readonly #holds: (piece: number) => boolean;
  queue: Request[] = [];

  constructor(holds: (piece: number) => boolean) {
    this.#holds = holds;
  }

  /** The requests that it answers in this round. */
  serve(most: number): Request[] {
    const answered: Request[] = [];
    this.queue = this.queue.filter((request) => {
      if (answered.length >= most || !this.#holds(request.piece)) return true;
      answered.push(request);
      return false;
    });
    return answered;
  }
}

class SimNode {
  readonly n: number;
  readonly name: string;
  readonly forest: Forest;
  readonly have = new Set<number>();
  /** piece → whom it was asked of; undefined: nobody yet. */
  readonly wants = new Map<number, Asked | undefined>();
  readonly aside = new Set<string>();
  readonly server = new Server((piece) => this.have.has(piece));
  readonly #mine = new Set<number>();
  gave = 0;
  /** Pieces of its own that are on their way. */
  own = 0;
  /** The next of its own. */
  next = 0;

  constructor(n: number, name: string, forest: Forest) {
    this.n = n;
    this.name = name;
    this.forest = forest;
  }

  want(piece: number): void {
    if (!this.wants.has(piece)) this.wants.set(piece, undefined);
  }

  wantOwn(): void {
    const piece = this.next;
    this.next += 1;
    if (this.have.has(piece)) return;
    this.#mine.add(piece);
    this.own += 1;
    this.want(piece);
  }

  take(piece: number): void {
    this.have.add(piece);
    this.wants.delete(piece);
    if (this.#mine.delete(piece)) this.own -= 1;
  }
}
