import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import type { TreeSource } from "../release/tree/tree-source.ts";

/** For tests: a folder that goes away with the test. */
export function tempDir(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-source-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Path → what it is: `d`, `l:target`, `f:text`, `x:text`. */
export async function contents(t: TestContext, source: TreeSource): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await source.entries(t.signal)) {
    if (entry.kind === "d") found[entry.path] = "d";
    else if (entry.kind === "l") found[entry.path] = `l:${entry.target}`;
    else {
      const { file, offset } = entry.content;
      const fd = typeof file === "number" ? file : fs.openSync(file, "r");
      const bytes = Buffer.alloc(entry.size);
      fs.readSync(fd, bytes, 0, entry.size, offset);
      if (typeof file === "string") fs.closeSync(fd);
      found[entry.path] = `${entry.kind}:${bytes.toString()}`;
    }
  }
  return found;
}

export interface TarEntry {
  readonly name: string;
  readonly type?: string;
  readonly mode?: number;
  readonly link?: string;
  readonly content?: string | Buffer;
  /** What the header says, where it is to differ from the content. */
  readonly size?: string;
  readonly badSum?: boolean;
  readonly prefix?: string;
  /** Default: as POSIX has it. */
  readonly magic?: string;
}

/** One header and its content, byte by byte: archives that no honest program writes. */
export function tarEntry(entry: TarEntry): Buffer {
  const content = Buffer.from(entry.content ?? "");
  const block = Buffer.alloc(512);
  block.write(entry.name, 0, 100, "latin1");
  block.write((entry.mode ?? 0o644).toString(8).padStart(7, "0"), 100);
  block.write("0000000", 108);
  block.write("0000000", 116);
  block.write(entry.size ?? content.length.toString(8).padStart(11, "0"), 124);
  block.write("00000000000", 136);
  block.write("        ", 148);
  block.write(entry.type ?? "0", 156);
  block.write(entry.link ?? "", 157, 100, "latin1");
  block.write(entry.magic ?? "ustar\u000000", 257);
  block.write(entry.prefix ?? "", 345, 155, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0) + (entry.badSum === true ? 1 : 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([block, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

export const tarEnd = Buffer.alloc(1024);

export function tar(...entries: TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), tarEnd]);
}

export function pax(...pairs: readonly (readonly [string, string])[]): string {
  return pairs
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      const bytes = Buffer.byteLength(rest);
      const length = bytes + String(bytes + String(bytes).length).length;
      return `${length}${rest}`;
    })
    .join("");
}
