import { spawn, type ChildProcessByStdio } from "node:child_process";
import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { SkeinError } from "../lib/errors/errors.ts";

type GitType = "commit" | "tree" | "blob" | "tag";

/** Takes objects one after the other, in the order in which they were asked for. */
export interface ObjectSink {
  begin(id: string, type: GitType, size: number): void;
  data(bytes: Buffer): void;
  /** The object was whole, and hashes to its id. */
  end(): void;
}

/** Replacements and lazy fetching would give other content than the id says; prompts would wait for nobody. */
const ENVIRONMENT = {
  GIT_NO_REPLACE_OBJECTS: "1",
  GIT_NO_LAZY_FETCH: "1",
  GIT_TERMINAL_PROMPT: "0",
  LC_ALL: "C",
};

type Git = ChildProcessByStdio<Writable, Readable, Readable>;

/** A small object, whole. */
interface GitObject {
  readonly id: string;
  readonly type: GitType;
  readonly bytes: Buffer;
}

/**
 * Reads objects from a repository, all through one git that ends with the disposal. Each is hashed again: git itself
 * does not look when it reads from a pack, and the chain from the commit to every blob is what makes a commit's hash
 * a promise. One read at a time; after a failure no other one.
 */
export class GitObjects implements Disposable {
  readonly repo: string;
  #git:
    | { readonly child: Git; readonly output: AsyncIterator<Buffer>; readonly closed: Promise<unknown> }
    | undefined;
  #said = "";

  constructor(repo: string) {
    this.repo = repo;
  }

  /** Starts git, for what will be read: it is there by then. */
  begin(): void {
    this.#git ??= this.#start();
  }

  /** @throws SkeinError COMMIT_NOT_FOUND when an object is missing, COMMIT_MISMATCH, GIT_FAILED */
  async read(ids: readonly string[], sink: ObjectSink, signal: AbortSignal): Promise<void> {
    if (ids.length === 0) return;
    if (ids.some((id) => id.length === SHA256_DIGITS)) throw otherNames(this.repo);
    const { child, output, closed } = (this.#git ??= this.#start());
    child.stdin.write(`${ids.join("\n")}\n`);
    const parser = new BatchParser(ids, sink);
    while (parser.left > 0) {
      const piece = await output.next();
      signal.throwIfAborted();
      if (piece.done === true) {
        await closed;
        const said = this.#said.trim();
        throw new SkeinError("GIT_FAILED", `git cat-file ended early: ${said}`, { data: { said } });
      }
      parser.push(piece.value);
    }
  }

  async readWhole(ids: readonly string[], signal: AbortSignal): Promise<GitObject[]> {
    const found: GitObject[] = [];
    let open: { id: string; type: GitType; pieces: Buffer[] } | undefined;
    const sink: ObjectSink = {
      begin: (id, type) => (open = { id, type, pieces: [] }),
      data: (bytes) => open?.pieces.push(Buffer.from(bytes)),
      end: () => {
        if (open !== undefined)
          found.push({ id: open.id, type: open.type, bytes: Buffer.concat(open.pieces) });
      },
    };
    await this.read(ids, sink, signal);
    return found;
  }

  [Symbol.dispose](): void {
    this.#git?.child.kill("SIGKILL");
  }

  #start(): { child: Git; output: AsyncIterator<Buffer>; closed: Promise<unknown> } {
    const env = {
      PATH: process.env["PATH"] ?? "/usr/bin:/bin",
      HOME: process.env["HOME"] ?? "/",
      ...ENVIRONMENT,
    };
    const child = spawn("git", ["-C", this.repo, "cat-file", "--batch"], {
      env,
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stderr.on("data", (text: Buffer) => (this.#said = (this.#said + text.toString()).slice(-4000)));
    child.stdin.on("error", () => undefined);
    const closed = once(child, "close").catch((err: unknown) => err);
    return { child, output: child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>, closed };
  }
}

/** Of a repository made with `--object-format=sha256`. */
const SHA256_DIGITS = 64;

function otherNames(repo: string): SkeinError {
  return new SkeinError("GIT_FAILED", `${repo} names its objects by SHA-256, and only SHA-1 is read`, {
    hint: "Take the folder as it is: --from .; or release from a repository with git's usual object format.",
    data: { repo },
  });
}

class BatchParser {
  readonly #ids: readonly string[];
  readonly #sink: ObjectSink;
  #next = 0;
  #held: Buffer = Buffer.alloc(0);
  /** Bytes of the object that are to come; undefined between objects. */
  #body: number | undefined;
  #sum: Hash = createHash("sha1");

  constructor(ids: readonly string[], sink: ObjectSink) {
    this.#ids = ids;
    this.#sink = sink;
  }

  /** Objects that did not come yet. */
  get left(): number {
    return this.#ids.length - this.#next;
  }

  push(piece: Buffer): void {
    let rest = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece]);
    this.#held = Buffer.alloc(0);
    while (rest.length > 0) {
      const used = this.#body === undefined ? this.#takeHeader(rest) : this.#takeBody(rest, this.#body);
      if (used === 0) break;
      rest = rest.subarray(used);
    }
    this.#held = Buffer.from(rest);
  }

  #takeHeader(bytes: Buffer): number {
    const newline = bytes.indexOf(0x0a);
    if (newline === -1) return 0;
    const line = bytes.toString("latin1", 0, newline);
    const wanted = this.#ids[this.#next] ?? "";
    const [, type, digits] = /^[0-9a-f]+ (commit|tree|blob|tag) ([0-9]+)$/.exec(line) ?? [];
    if (type === undefined || digits === undefined) {
      throw new SkeinError("COMMIT_NOT_FOUND", `the repository has no object ${wanted}`, {
        data: { object: wanted },
      });
    }
    this.#body = Number(digits);
    this.#sum = createHash("sha1").update(`${type} ${digits}\0`);
    this.#sink.begin(wanted, type as GitType, this.#body);
    return newline + 1;
  }

  #takeBody(bytes: Buffer, left: number): number {
    const content = bytes.subarray(0, left);
    if (content.length > 0) {
      this.#sum.update(content);
      this.#sink.data(content);
      this.#body = left - content.length;
    }
    // A newline ends each object.
    if (bytes.length <= left) return content.length;
    this.#body = undefined;
    const wanted = this.#ids[this.#next] ?? "";
    const found = this.#sum.digest("hex");
    if (found !== wanted) {
      throw new SkeinError("COMMIT_MISMATCH", `git object ${wanted} has other content than its id says`, {
        hint: "Check the repository: git fsck.",
        data: { object: wanted, found },
      });
    }
    this.#next += 1;
    this.#sink.end();
    return content.length + 1;
  }
}
