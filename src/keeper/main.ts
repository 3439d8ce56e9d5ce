import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { kernel } from "./ffi.ts";
import { Keeper } from "./keeper.ts";
import { Audience, serve } from "./server.ts";

const AGAIN_MS = 1000;

/**
 * `node main.ts <run folder> [wait]`: the keeper of one node. It ends by the op `shutdown` or by a kill; SIGTERM (a
 * unit's stop) ends only itself, instances live on for its successor. Where another one keeps the folder it ends at
 * once; with `wait`, as a unit or supervisor has it, it takes over when that one has ended. It would be started again
 * and again otherwise, and the unit would end nothing with the machine.
 */
const [, , run, wait] = process.argv;
if (run === undefined) {
  process.stderr.write("keeper: the run folder is missing\n");
  process.exit(2);
}
process.umask(0o022);
fs.mkdirSync(run, { recursive: true, mode: 0o711 });
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => undefined);
process.on("SIGHUP", () => undefined);
const isFirst = locker(run);
if (!isFirst()) {
  process.stderr.write(
    `keeper: another one keeps ${run}${wait === "wait" ? ", and its end is waited for" : ""}\n`,
  );
  if (wait !== "wait") process.exit(0);
  do await sleep(AGAIN_MS);
  while (!isFirst());
}
kernel()?.allowCopies();
kernel()?.keepStrays();
const audience = new Audience();
const keeper = new Keeper(run, (event) => audience.tell(event));
const server = await serve(path.join(run, "keeper.sock"), keeper, audience);
process.on("exit", () => server.close()); // takes the socket file away

/**
 * Two keepers of one folder would take each other's socket file away. The lock is a file's and not an abstract
 * name's, which any user could take first, and ends with its holder. Without ffi there is none: the agent starts a
 * keeper only when none answers.
 */
function locker(folder: string): () => boolean {
  const calls = kernel();
  if (calls === undefined) return () => true;
  const file = fs.openSync(path.join(folder, "keeper.lock"), "a", 0o600);
  return () => calls.lockFile(file);
}
