import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const VERSION = "7.0.4";
const run = promisify(execFile);

export interface Pm2 extends AsyncDisposable {
  start(app: string, port: number): Promise<void>;
  /** Resolves when pm2 says that the reload is done. */
  reload(app: string, port: number): Promise<void>;
}

/** Installs pm2 with npm into `dir` (without install scripts) and runs its daemon from there. */
export async function installPm2(dir: string, signal: AbortSignal): Promise<Pm2> {
  await fs.mkdir(dir, { recursive: true });
  await fs.writeFile(path.join(dir, "package.json"), "{}");
  const flags = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", ["install", ...flags, `pm2@${VERSION}`], { cwd: dir, signal });
  const home = path.join(dir, "home");
  const bin = path.join(dir, "node_modules", "pm2", "bin", "pm2");
  const pm2 = async (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<void> => {
    const base = { PATH: process.env["PATH"] ?? "", HOME: dir, PM2_HOME: home, ...env };
    await run(process.execPath, [bin, ...args], { cwd: dir, env: base });
  };
  return {
    start: async (app, port) =>
      await pm2(["start", app, "-i", "2", "--name", "bench"], { PORT: String(port) }),
    reload: async (_app, port) => await pm2(["reload", "bench", "--update-env"], { PORT: String(port) }),
    async [Symbol.asyncDispose]() {
      await pm2(["kill"]);
    },
  };
}
