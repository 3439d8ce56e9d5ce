import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const exec = promisify(execFile);

/** program → Debian package. */
const PROGRAMS = {
  casync: "casync",
  curl: "curl",
  git: "git",
  ip: "iproute2",
  nsenter: "util-linux",
  rsync: "rsync",
  tc: "iproute2",
  unshare: "util-linux",
  zstd: "zstd",
  zsync: "zsync",
} as const;

/** Installs what is missing and says so. @throws Error with the line to type where it may not */
export async function needPrograms(signal: AbortSignal): Promise<void> {
  const missing = Object.entries(PROGRAMS).filter(([program]) => !onPath(program));
  const packages = [...new Set(missing.map(([, name]) => name))];
  const line = `apt-get install -y --no-install-recommends ${packages.join(" ")}`;
  if (process.getuid?.() !== 0) {
    const also = packages.length === 0 ? "" : `, and these packages: sudo ${line}`;
    throw new Error(
      `transfer needs root for its network namespaces${also}. Type: sudo npm run bench -- transfer`,
    );
  }
  if (packages.length === 0) return;
  process.stderr.write(`${line}\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await exec("apt-get", ["-qq", "update"], { env, signal });
  await exec("apt-get", line.split(" ").slice(1), { env, signal });
}

function onPath(program: string): boolean {
  const dirs = (process.env["PATH"] ?? "").split(path.delimiter);
  return dirs.some((dir) => fs.existsSync(path.join(dir, program)));
}
