/**
 * `hub --json --listen ADDRESS`: what `skein hub` runs, with collections that believe in days. Each SIGUSR2 is one of
 * them, a day and a minute after the one before, and is told in a line when it is done.
 */
import { splitAddress } from "../../src/api/hub-address.ts";
import { collectDepot } from "../../src/hub/depot/depot-upkeep.ts";
import { stderrLog } from "../../src/lib/process/log.ts";
import { pathsFrom } from "../../src/lib/disk/paths.ts";
import { hubHere, serveHub } from "../../src/operator/server/hub-server.ts";
import { GRACE_MS } from "../../src/release/tree/published.ts";

const address = process.argv.at(-1) ?? "";
const paths = pathsFrom(process.env);
const { SKEIN_DEPOT: bucket } = process.env;
const stop = new AbortController();
const running = await serveHub({
  paths,
  listen: splitAddress(address),
  charters: [],
  bucket: bucket === undefined ? undefined : { address: bucket, env: process.env, cacheBytes: undefined },
  log: stderrLog,
  version: "0.0.0",
  signal: stop.signal,
});

let days = 0;
const tell = (event: object): void => void process.stdout.write(`${JSON.stringify(event)}\n`);
process.on("SIGUSR2", () => {
  days += 1;
  const clock = { ...running.hub.core.clock, now: () => Date.now() + days * (GRACE_MS + 60_000) };
  const later = { ...running.hub, core: { ...running.hub.core, clock } };
  collectDepot(later, false, stop.signal).then(
    ({ kept, noted, retired, deleted, unreadable }) =>
      tell({ type: "collected", days, kept, noted, retired, deleted, unreadable }),
    (err: unknown) => tell({ type: "collected", days, failed: String(err) }),
  );
});
tell({ type: "ready", hub: address, key: (await hubHere(paths, address)).spki });
