/** What the hub needs of the rollout controller. */
import type { Gate, Progress } from "../../api/field-schemas.ts";
import type { RolloutView, Steering } from "../../api/schemas.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";

export interface Gates {
  /** Whether the node may start this order, must wait, or goes back. Answered from memory. */
  gateFor(order: Digest, node: KeyId): Gate;
  /** Whether anything was decided about this order yet; what was just published is held until then. */
  isDecided(order: Digest): boolean;
}

export interface ViewNews {
  /** The revision of the view that is known. */
  readonly after: number;
  readonly waitMs: number;
}

export interface Rollouts extends Gates, AsyncDisposable {
  /** How far an order is; undefined when it was never heard of. */
  view(order: Digest): Promise<RolloutView | undefined>;
  /**
   * The same once it is another than `after`, or after `waitMs`. What comes together is told together, but the end at
   * once.
   */
  nextView(order: Digest, news: ViewNews, signal: AbortSignal): Promise<RolloutView | undefined>;
  /** Is the order's rollout still going on? Then the app takes no other order. */
  underWay(order: Digest): boolean;
  /**
   * A person's word on how it goes on, or back.
   * @param said by which it is known when it comes again
   * @throws SkeinError UNDO_TOO_LATE, ROLLOUT_ENDED, NOT_FOUND
   */
  steer(order: Digest, word: Steering, said?: string): Promise<void>;
  /** What a node said it is doing; not durable. */
  progress(node: KeyId, progress: readonly Progress[]): void;
}
