/** A machine's sync, or its jump, in a process of its own, for tests that kill it or let two run at once. */
import { jumpHere } from "../../agent/subscriber/jump.ts";
import { nearBucket } from "../../agent/subscriber/near-bucket.ts";
import { packagePlace } from "../../agent/subscriber/package-place.ts";
import { sync } from "../../agent/subscriber/sync.ts";
import type { SyncTools } from "../../agent/subscriber/sync-package.ts";
import { openBucket } from "../../bucket/bucket.ts";
import { systemClock } from "../../lib/time/clock.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { silentLog } from "../../lib/process/log.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";

const [, , address = "", pin = "", root = "", home = "", name, revision = ""] = process.argv;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const bucket = await openBucket(address, {
  env: process.env,
  writing: false,
  signal: AbortSignal.timeout(PATIENCE_MS),
});
const paths = pathsFrom({ SKEIN_HOME: home });
const tools: SyncTools = {
  bucket,
  near: nearBucket({ bucket, paths, clock: systemClock, log: silentLog }),
  pin: pin as Digest,
  env: "default",
  paths,
  node: "m",
  clock: systemClock,
  log: silentLog,
  onLine: say,
  waitMs: 60_000,
  maxAgeMs: null,
  say,
  signal: AbortSignal.timeout(PATIENCE_MS),
};
if (name === undefined) {
  const { isDone, packages } = await sync(root, tools);
  for (const { troubles } of packages) for (const one of troubles) say(`${one.code} ${one.message}`);
  process.exitCode = isDone ? 0 : 1;
} else await jumpHere(packagePlace(root, name), revision, tools);
