import type { Build } from "../app/manifest.ts";
import { SkeinError } from "../lib/errors.ts";
import { runShell } from "./shell.ts";

export interface BuildOptions {
  /** A clean checkout; the build writes into it. */
  readonly dir: string;
  readonly commit: string | null;
  readonly onLine: (line: string) => void;
  readonly signal: AbortSignal;
}

/** What a build sees of this machine: where programs and caches are, how to reach the network, and no secrets. */
const PASSED_ON = [
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "LANG",
  "LC_ALL",
  "TZ",
  "TMPDIR",
  "http_proxy",
  "https_proxy",
  "no_proxy",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "NODE_EXTRA_CA_CERTS",
  "XDG_CACHE_HOME",
] as const;

/** Runs the manifest's build and then its test. @throws SkeinError BUILD_FAILED */
export async function build(build: Build, options: BuildOptions): Promise<void> {
  for (const stage of ["run", "test"] as const) {
    const line = build[stage];
    if (line === null) continue;
    const { ok, how, tail } = await runShell(line, {
      cwd: options.dir,
      env: environment(options.commit),
      withinMs: build.withinMs,
      onLine: options.onLine,
      signal: options.signal,
    });
    if (ok) continue;
    throw new SkeinError("BUILD_FAILED", `${stage === "run" ? "the build" : "its test"} (${line}): ${how}`, {
      data: { stage: stage === "run" ? "build" : "test", command: line, lines: tail },
    });
  }
}

function environment(commit: string | null): Record<string, string> {
  const env: Record<string, string> = { CI: "1" };
  for (const name of PASSED_ON) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  if (commit !== null) env["SKEIN_COMMIT"] = commit;
  return env;
}
