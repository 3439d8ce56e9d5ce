import fs from "node:fs";
import path from "node:path";

const MOUNT_POINT = 4;

/**
 * Where something is mounted at or below a path, as this process sees it (proc_pid_mountinfo(5)): another disk, or a
 * folder from elsewhere, also of the same disk. Undefined: nothing is, or nobody can say.
 */
export function mountBelow(at: string): string | undefined {
  const real = realOf(at);
  if (real === undefined) return undefined;
  return mountPoints().find((mount) => mount === real || mount.startsWith(`${real}/`));
}

/** What leads there followed, but not the last name itself, which may be a link that is to be removed. */
function realOf(at: string): string | undefined {
  try {
    return path.join(fs.realpathSync(path.dirname(path.resolve(at))), path.basename(at));
  } catch {
    return undefined;
  }
}

function mountPoints(): string[] {
  let text: string;
  try {
    text = fs.readFileSync("/proc/self/mountinfo", "utf8");
  } catch {
    return [];
  }
  return text.split("\n").map((line) => unescaped(line.split(" ")[MOUNT_POINT] ?? ""));
}

/** Blanks and backslashes are written as three octal digits of each byte. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}
