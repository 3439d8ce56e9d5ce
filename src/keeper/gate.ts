import fs from "node:fs";
import path from "node:path";

/**
 * A gate is a one-word file that a waiting process reads through an inherited descriptor: `wait`, later `go`.
 * A file and not a pipe, because all processes of an instance see it, and it outlives the keeper.
 */
const WAIT = "wait";
const GO = "go\n\n";

/** Where an instance's gate is. */
export function gateFile(folder: string, key: string): string {
  return path.join(folder, encodeURIComponent(key));
}

export function makeGate(folder: string, key: string, open: boolean): string {
  fs.mkdirSync(folder, { recursive: true, mode: 0o711 });
  const file = gateFile(folder, key);
  // What crashed is started again also where nothing can be written.
  if (open && isOpen(file)) return file;
  fs.rmSync(file, { force: true });
  fs.writeFileSync(file, open ? GO : WAIT, { mode: 0o644 });
  return file;
}

export function openGate(file: string): void {
  if (fs.existsSync(file)) fs.writeFileSync(file, GO, { flag: "r+" });
}

export function removeGate(file: string): void {
  fs.rmSync(file, { force: true });
}

function isOpen(file: string): boolean {
  return fs.existsSync(file) && fs.readFileSync(file, "utf8") === GO;
}
