import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { removeTree } from "./remove-tree.ts";
import { folderMode, modeOf } from "./put-file.ts";
import type { Row } from "../tree/rows.ts";
import type { Difference } from "./verify-install.ts";

/**
 * Changes in an installed tree, each in one step, so that whoever runs from it sees the old thing or the new one. Root's
 * folders are open to root; others' are opened for the moment of the change.
 */

/** Gives a finished file its name; whoever has the old one open keeps that. @returns its inode */
export function placeFile(from: string, to: string): number {
  makeWay(to);
  inFolder(to, () => fs.renameSync(from, to));
  return fs.lstatSync(to).ino;
}

/** Lets `to` be the same file as `from`. */
export function placeLinkTo(from: string, to: string): void {
  placeAside(to, (aside) => fs.linkSync(from, aside));
}

/** Mends one difference that needs no content. Files whose content is wrong are left to `placeFile`. */
export function setRight(file: string, { reason }: Difference, row: Row | undefined): void {
  if (reason === "added") return inFolder(file, () => removeTree(file));
  const isFolder = row === undefined || row.kind === "d";
  if (reason === "mode" && row?.kind !== "l")
    return fs.chmodSync(file, isFolder ? folderMode(fs.lstatSync(file).uid) : modeOf(row));
  if (row?.kind === "d") return placeFolder(file);
  if (row?.kind === "l") return placeSymlink(row.target, file);
}

function placeFolder(to: string): void {
  inFolder(to, () => {
    removeTree(to);
    fs.mkdirSync(to, folderMode());
  });
}

function placeSymlink(target: string, to: string): void {
  bringBackFolder(path.dirname(to));
  makeWay(to);
  placeAside(to, (aside) => fs.symlinkSync(target, aside));
}

/** Folders in which only what the app may write is laid are in no row, and gone with it perhaps. */
function bringBackFolder(folder: string): void {
  if (fs.existsSync(folder)) return;
  bringBackFolder(path.dirname(folder));
  inFolder(folder, () => fs.mkdirSync(folder, folderMode()));
}

/** What cannot take its name leaves nothing beside it. */
function placeAside(to: string, make: (aside: string) => void): void {
  const aside = `${to}.${randomBytes(6).toString("hex")}.tmp`;
  inFolder(to, () => {
    make(aside);
    try {
      fs.renameSync(aside, to);
    } catch (err) {
      fs.rmSync(aside, { force: true });
      throw err;
    }
  });
}

/** Nothing can be renamed over a folder. */
function makeWay(to: string): void {
  if (fs.lstatSync(to, { throwIfNoEntry: false })?.isDirectory() === true) inFolder(to, () => removeTree(to));
}

const isRoot = (): boolean => process.getuid?.() === 0;

function inFolder(file: string, work: () => void): void {
  if (isRoot()) return work();
  const folder = path.dirname(file);
  fs.chmodSync(folder, 0o755);
  try {
    work();
  } finally {
    fs.chmodSync(folder, 0o555);
  }
}
