/** `node agent.child.ts <name> <ticket>`: an agent as a process of its own, which joins when it has to. */
import { runAgent } from "../../src/agent/agent.ts";
import { systemClock } from "../../src/lib/time/clock.ts";
import { silentLog, stderrLog } from "../../src/lib/process/log.ts";
import { pathsFrom } from "../../src/lib/disk/paths.ts";

const [, , name = "", ticket = "-"] = process.argv;
const stop = new AbortController();
process.on("SIGTERM", () => {
  stop.abort();
});
await runAgent({
  paths: pathsFrom(process.env),
  name,
  address: () => "127.0.0.1",
  bind: "127.0.0.1",
  join: ticket === "-" ? undefined : ticket,
  version: "0.0.0-test",
  reportEveryMs: 1000,
  log: process.env["SKEIN_TEST_LOG"] === undefined ? silentLog : stderrLog,
  clock: systemClock,
  signal: stop.signal,
});
