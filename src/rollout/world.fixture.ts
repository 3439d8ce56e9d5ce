import { ROLLING } from "../trust/strategy.fixture.ts";
import type { KeyId } from "../lib/text/ids.ts";
import type { Strategy, Verdict } from "../trust/document/documents.ts";
import type { Facts, NodeFacts } from "./facts.ts";
import { limitsOf, type Limits } from "./limits.ts";
import { NO_LAYOUT, planOf, type Layout, type Plan } from "./plan.ts";
import { gateOf, newRollout, phaseOf, type Gate, type Phase, type Rollout } from "./rollout.ts";
import { step } from "./step.ts";

export const kid = (n: number): KeyId => n.toString(16).padStart(32, "0") as KeyId;
const HOUR = 3_600_000;

interface WorldOptions {
  readonly strategy?: Partial<Strategy>;
  readonly layout?: Layout;
  /** Numbers of nodes that are away at the start. */
  readonly away?: readonly number[];
  /** Numbers of nodes where nothing of the app runs yet. */
  readonly empty?: readonly number[];
  readonly settle?: Facts["settle"];
}

/** Made-up nodes 0 … n-1 named n0 …, a clock, and a rollout over them that is stepped until nothing changes. */
export class World {
  now = 1_000_000;
  since = 0;
  heardAt = 0;
  settle: Facts["settle"];
  rollout: Rollout = newRollout(this.now);
  readonly nodes = new Map<KeyId, NodeFacts>();
  readonly applyBefore = this.now + HOUR;
  readonly undoBefore = this.now + 2 * HOUR;
  readonly plan: Plan;
  readonly limits: Limits;
  /** Every state on the way. */
  readonly history: Rollout[] = [];

  constructor(count: number, options: WorldOptions = {}) {
    const away = new Set(options.away);
    const empty = new Set(options.empty);
    this.settle = options.settle ?? null;
    for (let n = 0; n < count; n++) {
      const whole = { name: `n${n}`, meant: true, receipt: null, unwell: null };
      this.nodes.set(kid(n), { ...whole, present: !away.has(n), serving: !empty.has(n) });
    }
    this.limits = limitsOf({ ...ROLLING, ...options.strategy }, count);
    this.plan = planOf([...this.nodes.keys()], this.facts(), this.limits, options.layout ?? NO_LAYOUT);
    this.run();
  }

  facts(): Facts {
    const { now, since, heardAt, nodes, settle, applyBefore, undoBefore } = this;
    return { now, since, heardAt, nodes, settle, applyBefore, undoBefore };
  }

  scene(): { plan: Plan; limits: Limits; facts: Facts } {
    return { plan: this.plan, limits: this.limits, facts: this.facts() };
  }

  run(): void {
    for (let steps = 0; ; steps++) {
      if (steps > 1000) throw new Error("the rollout does not come to rest");
      const next = step(this.rollout, this.scene());
      if (next === this.rollout) return;
      this.history.push(next);
      this.rollout = next;
    }
  }

  change(n: number, facts: Partial<NodeFacts>): void {
    const old = this.nodes.get(kid(n)) ?? {
      name: `n${n}`,
      present: true,
      meant: true,
      serving: false,
      receipt: null,
      unwell: null,
    };
    this.nodes.set(kid(n), { ...old, ...facts });
  }

  report(n: number, verdict: Verdict, code: string | null = null): void {
    this.change(n, { receipt: { verdict, code, message: null } });
    this.run();
  }

  pass(ms: number): void {
    this.now += ms;
    this.run();
  }

  gate(n: number): Gate {
    return gateOf(this.rollout, kid(n), this.nodes.get(kid(n))?.serving ?? false);
  }

  gates(): Gate[] {
    return [...this.nodes.keys()].map((_, n) => this.gate(n));
  }

  get phase(): Phase {
    return phaseOf(this.rollout);
  }
}
