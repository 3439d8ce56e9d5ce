import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { median, rounded, type BenchOptions, type Figure } from "./bench.ts";
import { writeWebTree } from "./peers/web-tree.ts";
import { writeLargeFiles } from "./support/large-files.ts";
import { measured, Steps, type Cost, type StepResult } from "./support/release-steps.ts";

/** The tree and the large release of the promise, and what is done with in 50 s. */
const FILES = { full: 36_000, quick: 9_000 } as const;
const LARGE_BYTES = { full: 2 ** 30, quick: 2 ** 27 } as const;
const ROUNDS = 3;
const GOAL_CPU = 1.3;
const GOAL_LANDING = 1;
const GOAL_UPDATE = 0.2;
const GOAL_UNCHANGED_SECONDS = 1;
/** Peak resident memory of the process. */
const GOAL_PUBLISH_MIB = 384;
const GOAL_INSTALL_MIB = 128;
const GOAL_CHANGE_BYTES = 64 * 1024;
/** Of a hundred files one changes with each update. */
const CHANGED_EACH = 100;

export async function* bench({ quick, signal }: BenchOptions): AsyncIterable<Figure> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-bench-release-"));
  try {
    const steps = await Steps.open(dir, signal);
    const size = quick ? "quick" : "full";
    yield* new ManyFiles(dir, FILES[size], steps, signal).figures();
    yield* large(dir, LARGE_BYTES[size], steps);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

/** A large tree of small files against tar and zstd. Ours is on the disk when it returns, so the peer's is too. */
class ManyFiles {
  readonly #dir: string;
  readonly #files: number;
  readonly #steps: Steps;
  readonly #signal: AbortSignal;
  #label = "";

  constructor(dir: string, files: number, steps: Steps, signal: AbortSignal) {
    this.#dir = dir;
    this.#files = files;
    this.#steps = steps;
    this.#signal = signal;
  }

  async *figures(): AsyncIterable<Figure> {
    const { files, bytes } = writeWebTree(this.#at("tree"), this.#files);
    this.#label = `${files} files, ${Math.round(bytes / 1e6)} MB`;
    const published = yield* this.#publish();
    yield* this.#install(published);
    yield* this.#changeOne(published);
  }

  async *#publish(): AsyncGenerator<Figure, StepResult> {
    const pack = `tar cf - -C '${this.#at("tree")}' . | zstd -3 -T1 -q -f -o '${this.#at("tar.zst")}' && sync '${this.#at("tar.zst")}'`;
    const ours: StepResult[] = [];
    const peer: Cost[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of ["depot", "cache"]) fs.rmSync(this.#at(name), { recursive: true, force: true });
      ours.push(await this.#steps.publish(this.#at("tree"), this.#at("depot"), this.#at("cache")));
      peer.push(await measured(pack, this.#signal));
    }
    const cpu = { ours: medianOf(ours, "cpu"), peer: medianOf(peer, "cpu"), peerName: "tar | zstd -3, sync" };
    yield this.#ratio("publish, CPU s", cpu, GOAL_CPU);
    yield this.#limit("publish, MiB at most", Math.max(...ours.map(({ rss }) => rss)), GOAL_PUBLISH_MIB);
    const published = ours[0] as StepResult;
    const again: StepResult[] = [];
    for (let round = 0; round < ROUNDS; round++) again.push(await this.#publishAgain(published));
    yield this.#limit("publish unchanged, CPU s", medianOf(again, "cpu"), GOAL_UNCHANGED_SECONDS);
    return published;
  }

  /** Nothing is removed in between: ext4 makes files slowly for seconds after many were deleted. */
  async *#install(first: StepResult): AsyncGenerator<Figure> {
    const ours: StepResult[] = [];
    const updates: StepResult[] = [];
    const prepared: StepResult[] = [];
    const peer: Cost[] = [];
    const tree = await this.#changed(first);
    for (let round = 0; round < ROUNDS; round++) {
      const revs = this.#at(`revs-${round}`);
      const into = this.#at(`untar-${round}`);
      ours.push(await this.#steps.install(first.json, this.#at("depot"), revs, 1));
      fs.mkdirSync(into);
      peer.push(
        await measured(
          `zstd -dcq '${this.#at("tar.zst")}' | tar xf - -C '${into}' && sync -f '${into}'`,
          this.#signal,
        ),
      );
      prepared.push(await this.#steps.prepare(revs, 1));
      updates.push(await this.#steps.install(tree.json, this.#at("depot"), revs, 2));
    }
    const peerName = "zstd -d | tar x, sync -f";
    const [cpu, wall] = [medianOf(peer, "cpu"), medianOf(peer, "wall")];
    yield this.#ratio("install, CPU s", { ours: medianOf(ours, "cpu"), peer: cpu, peerName }, GOAL_CPU);
    yield this.#ratio("install, s", { ours: medianOf(ours, "wall"), peer: wall, peerName }, GOAL_LANDING);
    const update = { ours: medianOf(updates, "wall"), peer: wall, peerName };
    yield this.#ratio("update of 1 %, s", update, GOAL_UPDATE);
    const toPrepare = { ours: medianOf(prepared, "cpu"), peer: cpu, peerName };
    yield this.#ratio("preparing an update beforehand, CPU s", toPrepare);
    const rss = Math.max(...[...ours, ...prepared, ...updates].map((step) => step.rss));
    yield this.#limit("install and update, MiB at most", rss, GOAL_INSTALL_MIB);
  }

  async *#changeOne(first: StepResult): AsyncGenerator<Figure> {
    fs.appendFileSync(path.join(this.#at("tree"), "node_modules/package-0/module-1.js"), "// changed\n");
    const changed = await this.#publishAgain(first);
    yield this.#limit("one file changed: stored, bytes", changed.storedBytes, GOAL_CHANGE_BYTES);
    const update = await this.#steps.install(changed.json, this.#at("depot"), this.#at("revs-0"), 3);
    yield this.#limit("one file changed: fetched, bytes", update.bytesFetched, GOAL_CHANGE_BYTES);
  }

  /** Publishes the tree with one file in a hundred changed, and leaves it as it was. */
  async #changed(first: StepResult): Promise<StepResult> {
    const tree = path.join(this.#at("tree"), "node_modules");
    const files = fs
      .readdirSync(tree, { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile());
    const chosen = files
      .filter((_, n) => n % CHANGED_EACH === 1)
      .map((one) => path.join(one.parentPath, one.name));
    const sizes = chosen.map((file) => fs.statSync(file).size);
    for (const file of chosen) fs.appendFileSync(file, "// changed\n");
    const changed = await this.#publishAgain(first);
    for (const [n, file] of chosen.entries()) fs.truncateSync(file, sizes[n]);
    return changed;
  }

  async #publishAgain(previous: StepResult): Promise<StepResult> {
    return await this.#steps.publish(this.#at("tree"), this.#at("depot"), this.#at("cache"), previous.json);
  }

  #at(name: string): string {
    return path.join(this.#dir, name);
  }

  #ratio(name: string, times: { ours: number; peer: number; peerName: string }, goal?: number): Figure {
    const ratio = times.ours / times.peer;
    return {
      bench: "release",
      case: `${name} (${this.#label})`,
      ours: rounded(times.ours),
      peer: rounded(times.peer),
      peer_name: times.peerName,
      ratio: rounded(ratio),
      goal: goal === undefined ? "shown only" : `ratio <= ${goal}`,
      met: goal === undefined || ratio <= goal,
    };
  }

  #limit(name: string, ours: number, most: number): Figure {
    return limit(`${name} (${this.#label})`, ours, most);
  }
}

/** Large files, and one large executable: this very Node. */
async function* large(dir: string, bytes: number, steps: Steps): AsyncIterable<Figure> {
  writeLargeFiles(path.join(dir, "large"), bytes);
  fs.mkdirSync(path.join(dir, "executable"));
  fs.copyFileSync(process.execPath, path.join(dir, "executable/server"));
  const executable = fs.statSync(process.execPath).size;
  for (const [name, size] of [
    ["large", bytes],
    ["executable", executable],
  ] as const) {
    const at = (word: string): string => path.join(dir, `${name}${word}`);
    const label = `${name === "large" ? "8 files" : "one executable"}, ${Math.round(size / 1e6)} MB`;
    const published = await steps.publish(at(""), at("-depot"), at("-cache"));
    yield limit(`publish, MiB at most (${label})`, published.rss, GOAL_PUBLISH_MIB);
    const installed = await steps.install(published.json, at("-depot"), at("-revs"), 1);
    yield limit(`install, MiB at most (${label})`, installed.rss, GOAL_INSTALL_MIB);
  }
}

function limit(name: string, ours: number, most: number): Figure {
  return {
    bench: "release",
    case: name,
    ours: rounded(ours),
    peer: null,
    peer_name: "limit",
    ratio: null,
    goal: `ours <= ${most}`,
    met: ours <= most,
  };
}

const medianOf = (steps: readonly Cost[], what: keyof Cost): number =>
  median(steps.map((step) => step[what]));
