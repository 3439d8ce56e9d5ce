/** A bare repository with both trees as commits, behind `git daemon`. */
import path from "node:path";
import { listening } from "../transfer/daemon.ts";
import { make, PORTS, type Field, type Peer, type Served } from "../transfer/peer.ts";
import type { Pair } from "../transfer/pairs.ts";

export const git: Peer = { name: "git fetch", needs: ["git"], serve };

async function serve(pair: Pair, field: Field): Promise<Served> {
  const repo = path.join(field.dir, "repo.git");
  await commits(pair, field, repo);
  const daemon = await listening(field, PORTS.git, "git", [
    "daemon",
    "--reuseaddr",
    "--export-all",
    `--listen=${field.wire.sender}`,
    `--port=${PORTS.git}`,
    `--base-path=${field.dir}`,
  ]);
  return {
    sender: [daemon.pid],
    ready: async (home) => {
      await make(field, home, "git", "clone", "-q", "--single-branch", "-b", "old", `file://${repo}`, "tree");
      const url = `git://${field.wire.sender}:${PORTS.git}/repo.git`;
      await make(field, path.join(home, "tree"), "git", "remote", "set-url", "origin", url);
    },
    receive: "cd tree; git fetch -q origin new; git reset -q --hard FETCH_HEAD",
    stop: () => daemon.stop(),
  };
}

/** The old tree as branch `old`, the new one on top of it as `new`. */
async function commits(pair: Pair, field: Field, repo: string): Promise<void> {
  await make(field, field.dir, "git", "init", "-q", "--bare", repo);
  for (const side of ["old", "new"] as const) {
    const at = ["--git-dir", repo, "--work-tree", pair[side]];
    await make(field, repo, "git", "symbolic-ref", "HEAD", `refs/heads/${side}`);
    await make(field, pair[side], "git", ...at, "add", "-A", "-f", ".");
    await make(field, pair[side], "git", ...at, "commit", "-q", "--allow-empty", "-m", side);
    // The new commit stays as a push leaves it: packed with the old one, it would be the base of deltas, not one.
    // Bitmaps would hide the old files from the search for deltas.
    const repack = ["-c", "repack.writeBitmaps=false", "repack", "-a", "-d", "-q"];
    if (side === "old") await make(field, repo, "git", ...repack);
    if (side === "old") await make(field, repo, "git", "branch", "new", "old");
  }
}
