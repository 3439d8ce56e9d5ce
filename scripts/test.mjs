// Runs every test once and ends with the runner's own summary. Arguments are passed on (`npm test -- --test-name-pattern=…`).
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const cache = path.join(root, "node_modules", ".cache", "compile");
mkdirSync(cache, { recursive: true, mode: 0o700 });

const args = process.argv.slice(2);
const files = args.filter((arg) => !arg.startsWith("-"));
const flags = args.filter((arg) => arg.startsWith("-"));
const globs = files.length > 0 ? files : ["src/**/*.test.ts", "test/**/*.test.ts"];
// Most tests wait for sockets and processes rather than for a core: three at once keep two cores busy.
const runner = spawn(
  process.execPath,
  ["--test", "--test-concurrency=3", "--test-timeout=180000", ...flags, ...globs],
  { cwd: root, stdio: "inherit", env: { ...process.env, NODE_COMPILE_CACHE: cache } },
);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => runner.kill(signal));
runner.on("exit", (code) => process.exit(code ?? 1));
