import path from "node:path";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { collect } from "./collect.ts";

/** For tests: a run without kept releases and without grace on the depot in the folder that is named. */
await collect({
  depot: directoryDepot(path.resolve(process.argv[2] ?? "")),
  roots: () => [],
  graceMs: 0,
  clock: { now: () => Date.now(), sleep: async () => undefined },
  signal: new AbortController().signal,
});
