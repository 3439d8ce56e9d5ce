import fs from "node:fs";
import path from "node:path";
import { bindPath } from "./bind-path.ts";
import { errnoOf } from "../lib/errors.ts";
import { Keeper } from "./keeper.ts";
import { Audience, serve } from "./server.ts";

/**
 * `node main.ts <run folder>`: the keeper of one node. It ends by the op `shutdown` or by a kill; SIGTERM (a unit's
 * stop) ends only itself, instances live on for its successor.
 */
const run = process.argv[2];
if (run === undefined) {
  process.stderr.write("keeper: the run folder is missing\n");
  process.exit(2);
}
process.umask(0o022);
fs.mkdirSync(run, { recursive: true, mode: 0o711 });
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => undefined);
process.on("SIGHUP", () => undefined);
const lock = onlyOne(path.resolve(run));
const audience = new Audience();
const keeper = new Keeper(run, (event) => audience.tell(event));
const server = await serve(path.join(run, "keeper.sock"), keeper, audience);
process.on("exit", () => {
  server.close(); // takes the socket file away
  lock.close();
});

/** Two keepers of one folder would take each other's socket file away; the lock ends with its holder. */
function onlyOne(folder: string): { close(): void } {
  if (process.platform !== "linux") return { close: () => undefined };
  const { dev, ino } = fs.statSync(folder);
  try {
    return bindPath(`\0skein-keeper-${dev}-${ino}`);
  } catch (err) {
    if (errnoOf(err) !== "EADDRINUSE") throw err;
    process.stderr.write(`keeper: another one keeps ${folder}\n`);
    return process.exit(0);
  }
}
