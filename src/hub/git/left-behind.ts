/** What a git leaves that was killed, by a power cut or with its hub. No other git may run on the repository meanwhile. */
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findByEnvironment } from "../../keeper/proc.ts";

const POLL_MS = 20;
const END_MS = 5000;

/** git lets no ref end so. */
const LOCK = /\.lock$/;
/** A lock; a pack, an object or a push that was not whole yet; gc's own lock; HEAD before its rename. Branches are called so, too. */
const LEFT = /\.lock$|^(\.?tmp[-_])|^gc\.pid$|^HEAD\.[0-9a-f]+\.new$/;

/** Where they lie, which names they have there, and whether deeper, too. */
const PLACES = [
  ["", LEFT, false],
  ["refs", LOCK, true],
  ["objects", LEFT, false],
  ["objects/info", LEFT, true],
  ["objects/pack", LEFT, false],
] as const;

/** Nobody else ends them: git waits for no lock, and fails for ever where one was left. */
export function removeLeft(repo: string): void {
  for (const [place, names, deep] of PLACES) {
    const dir = path.join(repo, place);
    if (!fs.existsSync(dir)) continue;
    for (const entry of fs.readdirSync(dir, { recursive: deep, withFileTypes: true })) {
      if (names.test(entry.name))
        fs.rmSync(path.join(entry.parentPath, entry.name), { recursive: true, force: true });
    }
  }
}

/** Ends gits that outlived the hub which had started them: their HOME is the folder of its repositories. */
export async function endLeftGits(root: string): Promise<void> {
  const until = performance.now() + END_MS;
  for (;;) {
    const pid = findByEnvironment(`HOME=${root}`);
    if (pid === undefined || performance.now() > until) return;
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // it has just ended by itself
    }
    await sleep(POLL_MS);
  }
}
