import type { DepotKind } from "../../depot/seam/depot.ts";

/** Where an install's bytes came from: `disk` is what this machine had of earlier releases or an earlier try. */
type ByteSource = "disk" | DepotKind;
/**
 * Bytes by where they came from; what gave none is absent. From the disk they are counted as they lie in files, from
 * depots as they travelled, rows and indexes included.
 */
export type BytesBySource = Readonly<Partial<Record<ByteSource, number>>>;

export function addSources(a: BytesBySource, b: BytesBySource): BytesBySource {
  const sum: Partial<Record<ByteSource, number>> = { ...a };
  for (const [source, bytes] of Object.entries(b) as [ByteSource, number][])
    sum[source] = (sum[source] ?? 0) + bytes;
  return sum;
}

export interface InstallProgress {
  readonly stage: "rows" | "local" | "fetch" | "flush";
  /** Bytes of content put down so far, and of all that is to be; 0 until the rows are here. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly sources: BytesBySource;
}

/** Counts what an install puts down and where it came from, and tells of it. */
export class InstallMeter {
  readonly #fetched: ReadonlyMap<DepotKind, number>;
  readonly #tell: ((progress: InstallProgress) => void) | undefined;
  #stage: InstallProgress["stage"] = "rows";
  #bytesDone = 0;
  #fromDisk = 0;
  bytesTotal = 0;

  /** `fetched`: bytes that came from depots, counted elsewhere. */
  constructor(
    fetched: ReadonlyMap<DepotKind, number>,
    tell: ((progress: InstallProgress) => void) | undefined,
  ) {
    this.#fetched = fetched;
    this.#tell = tell;
  }

  get sources(): BytesBySource {
    const disk = this.#fromDisk === 0 ? {} : { disk: this.#fromDisk };
    return { ...disk, ...Object.fromEntries(this.#fetched) };
  }

  enter(stage: InstallProgress["stage"]): void {
    this.#stage = stage;
    this.tell();
  }

  /** Content that was there, or was put down from what was there; told of with the next word. */
  fromDisk(bytes: number): void {
    this.#fromDisk += bytes;
    this.#bytesDone += bytes;
  }

  /** Of content that was put down already, so much was made of what was there. */
  reused(bytes: number): void {
    this.#fromDisk += bytes;
  }

  fromDepot(bytes: number): void {
    this.#bytesDone += bytes;
  }

  tell(): void {
    if (this.#tell === undefined) return;
    const { bytesTotal, sources } = this;
    this.#tell({ stage: this.#stage, bytesDone: this.#bytesDone, bytesTotal, sources });
  }
}
