/**
 * What a push through the helper did, learnt by looking on: the branches that git asks for stand before the pack, and
 * the hub's report says of each how it went (gitprotocol-pack(5)). Nothing is held back or changed.
 */
export interface PushedBranch {
  readonly branch: string;
  readonly commit: string;
}

/** Requests of one push are far smaller. */
const MAX_HEAD = 1024 * 1024;
/** The report stands at the end of what the hub says. */
const REPORT_BYTES = 64 * 1024;
const COMMAND = /^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) refs\/heads\/([^\0\n]+)/;

export class PushWatch {
  #head = Buffer.alloc(0);
  #isHead = true;
  #tail = Buffer.alloc(0);
  readonly #asked: PushedBranch[] = [];
  readonly #onAsked: (one: PushedBranch) => void;

  /** @param onAsked told of each branch that git wants to have pushed; the hub may refuse it */
  constructor(onAsked: (one: PushedBranch) => void = () => undefined) {
    this.#onAsked = onAsked;
  }

  /** Bytes on their way to the hub. */
  sent(bytes: Buffer): void {
    if (!this.#isHead) return;
    this.#head = Buffer.concat([this.#head, bytes]);
    while (this.#isHead) {
      const length = Number.parseInt(this.#head.toString("latin1", 0, 4), 16);
      const isWhole = this.#head.length >= 4 && this.#head.length >= length;
      if (!isWhole && this.#head.length < MAX_HEAD && !(this.#head.length >= 4 && Number.isNaN(length)))
        return;
      // A flush ends the requests; what cannot be read is not looked at.
      if (!isWhole || length < 5) this.#isHead = false;
      else this.#take(this.#head.toString("utf8", 4, length));
      this.#head = this.#isHead ? this.#head.subarray(length) : Buffer.alloc(0);
    }
  }

  /** Bytes on their way back. */
  received(bytes: Buffer): void {
    this.#tail = Buffer.concat([this.#tail, bytes]).subarray(-REPORT_BYTES);
  }

  /** The branches that the hub took; those that were deleted are not among them. */
  get pushed(): readonly PushedBranch[] {
    const report = this.#tail.toString("utf8");
    return this.#asked.filter(({ branch }) => report.includes(`ok refs/heads/${branch}\n`));
  }

  #take(line: string): void {
    const [, , commit, branch] = COMMAND.exec(line) ?? [];
    if (commit === undefined || branch === undefined || /^0+$/.test(commit)) return;
    this.#asked.push({ branch, commit });
    this.#onAsked({ branch, commit });
  }
}
