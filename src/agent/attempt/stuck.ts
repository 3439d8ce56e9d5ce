import { PROGRESS_NOTE_CHARS } from "../../api/field-schemas.ts";
import type { Report, WantedApp } from "../../api/schemas.ts";
import { toSkeinError } from "../../lib/errors/errors.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { digestOfEnvelope } from "../../trust/document/envelope.ts";

type Progress = Report["progress"][number];

const STUCK = "stuck";

/** What keeps an order from going on here, and is tried again: whoever gave it sees why nothing happens. */
export function stuckAt(order: Digest, err: unknown): Progress {
  const { code, message } = toSkeinError(err);
  const note = `${code} ${message}`.slice(0, PROGRESS_NOTE_CHARS);
  return { order, stage: STUCK, bytesDone: 0, bytesTotal: null, note };
}

/** Orders that cannot be taken down: a disk that takes nothing leaves a node nothing to answer with. */
export class Untaken {
  readonly #tell: () => void;
  #stuck: readonly { readonly app: string; readonly progress: Progress }[] = [];

  /** @param tell somebody waits to hear of it */
  constructor(tell: () => void) {
    this.#tell = tell;
  }

  get progress(): readonly Progress[] {
    return this.#stuck.map(({ progress }) => progress);
  }

  /** Why an app's order is not taken down, or does not go on. */
  noteOf(app: string, progress: Progress | undefined): string | null {
    if (progress?.stage === STUCK) return progress.note;
    return this.#stuck.find((one) => one.app === app)?.progress.note ?? null;
  }

  /** @param taking of the orders of these apps */
  async after<T>(apps: readonly WantedApp[], taking: Promise<T>): Promise<T> {
    try {
      const taken = await taking;
      this.#stuck = [];
      return taken;
    } catch (err) {
      this.#stuck = apps.flatMap(({ app, orders }) =>
        orders.map((order) => ({ app, progress: stuckAt(digestOfEnvelope(order), err) })),
      );
      this.#tell();
      throw err;
    }
  }
}
