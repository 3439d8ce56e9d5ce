/** For tests: `node build-run.child.ts DIR COMMAND` builds in DIR, with whatever rights it was given, and prints lines. */
import path from "node:path";
import { PATIENCE_MS } from "../lib/testing/patience.fixture.ts";
import { build } from "./build.ts";

const [dir = "", run = ""] = process.argv.slice(2);
await build({
  dir,
  run,
  test: null,
  withinMs: PATIENCE_MS,
  cacheDir: path.join(dir, "cache"),
  env: {},
  onLine: (line) => void process.stdout.write(`${line}\n`),
  signal: AbortSignal.timeout(PATIENCE_MS),
});
