// Types, lint, format, dead code, layers and generated documents: everything that can be said without running a test.
import { spawnSync } from "node:child_process";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const bin = (name) => path.join(root, "node_modules", ".bin", name);

const STEPS = [
  ["types", bin("tsc"), []],
  ["lint", bin("oxlint"), ["--type-aware"]],
  ["format", bin("oxfmt"), ["--check", "."]],
  ["dead code", bin("knip"), []],
  ["layers", process.execPath, [path.join(root, "scripts/layers.ts")]],
  ["generated documents", process.execPath, [path.join(root, "scripts/docs.ts"), "--check"]],
];

let failed = 0;
for (const [name, command, args] of STEPS) {
  const started = Date.now();
  const run = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  const ok = run.status === 0;
  console.log(`${ok ? "ok  " : "FAIL"} ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  if (!ok) {
    failed += 1;
    process.stdout.write(run.stdout + run.stderr);
  }
}
process.exit(failed === 0 ? 0 : 1);
