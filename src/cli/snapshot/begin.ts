import { spawn } from "node:child_process";
import path from "node:path";
import { bootId, placeOf, stateOf } from "./place.ts";

/**
 * After a deployment that went well: has a snapshot made for the next ones, in the background, where there is none that
 * fits. Nobody waits for it, and nothing is said of it. `SKEIN_SNAPSHOT=no` and `CI` keep it away.
 */
export function beginSnapshot(env: NodeJS.ProcessEnv = process.env): void {
  const isCheckout = import.meta.filename.endsWith(".ts");
  if (isCheckout || bootId() === undefined || env["SKEIN_SNAPSHOT"] === "no" || env["CI"] !== undefined)
    return;
  const state = stateOf(placeOf(path.resolve(import.meta.dirname, ".."), env));
  if (state === "fits" || state === "none") return;
  const child = spawn(
    process.execPath,
    [...process.execArgv, path.join(import.meta.dirname, "make-snapshot.mjs")],
    {
      cwd: "/",
      detached: true,
      stdio: "ignore",
      env: pick(env, "PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME"),
    },
  );
  child.on("error", () => undefined);
  child.unref();
}

function pick(env: NodeJS.ProcessEnv, ...names: readonly string[]): NodeJS.ProcessEnv {
  return Object.fromEntries(
    names.map((name) => [name, env[name]]).filter(([, value]) => value !== undefined),
  );
}
