import { EventEmitter, once } from "node:events";
import type { CommandLine } from "../../api/schemas.ts";

/** Lines that wait for a slow operator before the nodes are made to wait. */
const MAX_QUEUED = 1000;
/** Their size as JSON; a line may have 4 MiB. */
const MAX_QUEUED_BYTES = 8 * 2 ** 20;

/** What nodes have said and the operator has not read yet: bounded, since who says more waits until there is room. */
export class RelayQueue {
  readonly #lines: { readonly line: CommandLine; readonly bytes: number }[] = [];
  /** `line`: there is something to read, or the end; `room`: there is room. */
  readonly #events = new EventEmitter().setMaxListeners(0);
  #bytes = 0;
  #closed = false;

  get bytes(): number {
    return this.#bytes;
  }

  /** Nobody reads what comes. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves once the line is in, or the queue closed. */
  async push(line: CommandLine): Promise<void> {
    const bytes = Buffer.byteLength(JSON.stringify(line));
    while (!this.#closed && !this.#fits(bytes)) await once(this.#events, "room");
    if (!this.#closed) this.#add(line, bytes);
  }

  /** How a node's answer ended comes in at any size: it is small, and one for each node. */
  pushEnd(line: CommandLine): void {
    if (!this.#closed) this.#add(line, 0);
  }

  shift(): CommandLine | undefined {
    const first = this.#lines.shift();
    if (first === undefined) return undefined;
    this.#bytes -= first.bytes;
    this.#events.emit("room");
    return first.line;
  }

  /** Wakes the reader without a line. */
  wake(): void {
    this.#events.emit("line");
  }

  /** Until there may be something to read, or `signal` aborts. */
  async change(signal: AbortSignal): Promise<void> {
    await once(this.#events, "line", { signal }).catch(() => undefined);
  }

  /** Nobody reads any more: who waits for room goes on. */
  close(): void {
    this.#closed = true;
    this.#lines.length = 0;
    this.#bytes = 0;
    this.#events.emit("room");
  }

  /** A line that is larger than all room goes alone. */
  #fits(bytes: number): boolean {
    if (this.#lines.length === 0) return true;
    return this.#lines.length < MAX_QUEUED && this.#bytes + bytes <= MAX_QUEUED_BYTES;
  }

  #add(line: CommandLine, bytes: number): void {
    this.#lines.push({ line, bytes });
    this.#bytes += bytes;
    this.wake();
  }
}
