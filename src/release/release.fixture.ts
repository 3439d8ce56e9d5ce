import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import { directoryDepot, type DirectoryDepot } from "../depot/directory/directory.ts";
import { digestOf, type ChunkId, type ReleaseId } from "../lib/text/ids.ts";
import type { ChunkRef } from "./tree/pack.ts";
import type { SourceEntry, SourceFile, TreeSource } from "./tree/tree-source.ts";
import { install, type InstallOptions, type Installed } from "./install/install.ts";
import { publish, type Published, type PublishOptions } from "./publish/publish.ts";

/** For tests: a folder that goes away with the test. */
export function tempDir(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-release-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** What a tree holds: text or bytes for a file, `x:` for an executable one, `l:` for a link, null for a folder. */
export type Tree = Readonly<Record<string, string | Buffer | null>>;

export function writeTree(dir: string, tree: Tree): string {
  fs.mkdirSync(dir, { recursive: true });
  for (const [at, content] of Object.entries(tree)) {
    const file = path.join(dir, at);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    if (content === null) fs.mkdirSync(file, { recursive: true });
    else if (typeof content === "string" && content.startsWith("l:")) fs.symlinkSync(content.slice(2), file);
    else if (typeof content === "string" && content.startsWith("x:")) {
      fs.writeFileSync(file, content.slice(2), { mode: 0o755 });
    } else fs.writeFileSync(file, content);
  }
  return dir;
}

export function readTree(dir: string): Record<string, string | Buffer | null> {
  const tree: Record<string, string | Buffer | null> = {};
  const walk = (under: string): void => {
    for (const entry of fs.readdirSync(path.join(dir, under), { withFileTypes: true })) {
      const at = under + entry.name;
      const file = path.join(dir, at);
      if (entry.isDirectory()) {
        tree[at] = null;
        walk(`${at}/`);
      } else if (entry.isSymbolicLink()) tree[at] = `l:${fs.readlinkSync(file)}`;
      else {
        const text = fs.readFileSync(file);
        const isText = text.length < 10_000;
        const x = (fs.statSync(file).mode & 0o100) === 0 ? "" : "x:";
        tree[at] = isText ? x + text.toString() : text;
      }
    }
  };
  walk("");
  return tree;
}

/** Keeps what is in a folder. @returns puts it down in another one, which takes less than to publish the same again */
export function kept(dir: string): (to: string) => void {
  const files = fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => path.join(parentPath, name))
    .map((file) => [path.relative(dir, file), fs.readFileSync(file)] as const);
  return (to) => {
    for (const [name, bytes] of files) {
      const file = path.join(to, name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, bytes);
    }
  };
}

/** Bytes that do not compress and are the same every time. */
export function noise(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** These bytes as one chunk. */
export const refOf = (bytes: Buffer): ChunkRef => ({
  id: digestOf(bytes) as string as ChunkId,
  length: bytes.length,
});

/** A source in memory's stead: the folder `dir`, read the plainest way. */
export function plainSource(dir: string): TreeSource {
  return {
    kind: "dir",
    name: "plain",
    commit: null,
    cacheKey: `plain:${dir}`,
    notes: [],
    entries: async () => plainEntries(dir, ""),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** The same source, whose files changed a minute before they did. */
export function aged(source: TreeSource): TreeSource {
  return {
    ...source,
    entries: async (signal) =>
      (await source.entries(signal)).map((entry) =>
        "changedMs" in entry ? { ...entry, changedMs: entry.changedMs - 60_000 } : entry,
      ),
  };
}

export function plainEntries(dir: string, under: string): SourceEntry[] {
  return fs.readdirSync(path.join(dir, under), { withFileTypes: true }).flatMap((entry): SourceEntry[] => {
    const at = under + entry.name;
    const file = path.join(dir, at);
    if (entry.isDirectory()) return [{ kind: "d", path: at }, ...plainEntries(dir, `${at}/`)];
    if (entry.isSymbolicLink()) return [{ kind: "l", path: at, target: fs.readlinkSync(file) }];
    const stat = fs.statSync(file);
    const kind: SourceFile["kind"] = (stat.mode & 0o100) === 0 ? "f" : "x";
    const stamp = `${stat.size} ${stat.mtimeMs} ${stat.ctimeMs} ${stat.ino}`;
    const changedMs = Math.max(stat.mtimeMs, stat.ctimeMs);
    return [{ kind, path: at, size: stat.size, content: { file, offset: 0 }, stamp, changedMs }];
  });
}

export interface World {
  readonly dir: string;
  readonly depot: DirectoryDepot;
  readonly revs: string;
  publish(tree: Tree, options?: Partial<PublishOptions>): Promise<Published>;
  install(n: number, tree: Published, options?: Partial<InstallOptions>): Promise<Installed>;
}

/** A made-up release id. */
export const releaseId = (n: number): ReleaseId => n.toString(16).padStart(32, "0") as ReleaseId;

export function makeWorld(t: TestContext): World {
  const dir = tempDir(t);
  const depot = directoryDepot(path.join(dir, "depot"));
  const revs = path.join(dir, "revs");
  let published = 0;
  return {
    dir,
    depot,
    revs,
    publish: async (tree, options = {}) =>
      await publish({
        source: plainSource(writeTree(path.join(dir, `source-${published++}`), tree)),
        depot,
        previous: null,
        now: 1_700_000_000_000,
        cacheDir: null,
        signal: t.signal,
        ...options,
      }),
    install: async (n, tree, options = {}) =>
      await install({
        release: releaseId(n),
        tree,
        depots: [depot],
        revs,
        link: true,
        signal: t.signal,
        ...options,
      }),
  };
}
