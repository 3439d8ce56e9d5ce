import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { refuse } from "./refuse.ts";

const run = promisify(execFile);
/** Files asked about at once: well under what a command line may hold. */
const AT_ONCE = 200;
const HINT = "Give the service the capability instead (AmbientCapabilities=), and remove it: setcap -r.";

/**
 * Refuses executable files with capabilities: a release would lose them, and the program would fail only on the nodes.
 * Node cannot read them, so libcap's `getcap` is asked; where it is missing, nothing is refused.
 * @param paths of executable files, below `root`
 * @throws SkeinError TREE_REFUSED
 */
export async function refuseCapabilities(
  root: string,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (let at = 0; at < paths.length; at += AT_ONCE) {
    const some = paths.slice(at, at + AT_ONCE);
    const lines = await getcap(
      some.map((path) => `${root}/${path}`),
      signal,
    );
    const found = some.find((path) => lines.some((line) => line.startsWith(`${root}/${path} `)));
    if (found !== undefined) throw refuse("TREE_REFUSED", found, "it has file capabilities", HINT);
  }
}

/** A line for each file that has some, its path first. */
async function getcap(files: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  // It lies where ordinary users do not look.
  const env = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` };
  try {
    const { stdout } = await run("getcap", files, { env, signal, maxBuffer: 1 << 24 });
    return stdout.split("\n");
  } catch (err) {
    signal.throwIfAborted();
    // A file that it cannot look at does not hide the others. Where there is no such program it said nothing.
    return err instanceof Error && "stdout" in err ? String(err.stdout).split("\n") : [];
  }
}
