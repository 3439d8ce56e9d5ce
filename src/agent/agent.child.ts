/** `node agent.child.ts <folder> <name> [<fewest files of a spare>]`: an agent as a process of its own, for tests that kill it. */
import { flushCompileCache } from "node:module";
import { systemClock } from "../lib/time/clock.ts";
import { stderrLog, silentLog } from "../lib/process/log.ts";
import { pathsFrom } from "../lib/disk/paths.ts";
import { agentOptions } from "./agent.fixture.ts";
import { runAgent } from "./agent.ts";
import { directorySource } from "./source/source-directory.ts";

flushCompileCache();
const [, , folder = "", name = "", leastSpareFiles] = process.argv;
const stop = new AbortController();
process.on("SIGTERM", () => {
  stop.abort();
});
await runAgent({
  ...agentOptions(pathsFrom(process.env), name),
  source: async (keys) => await directorySource(folder, keys.signer.kid),
  log: process.env["SKEIN_TEST_LOG"] === undefined ? silentLog : stderrLog,
  clock: systemClock,
  leastSpareFiles: leastSpareFiles === undefined ? undefined : Number(leastSpareFiles),
  signal: stop.signal,
});
