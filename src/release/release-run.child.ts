import fs from "node:fs";
import path from "node:path";
import { directoryDepot } from "../depot/directory/directory.ts";
import { install, type InstallOptions } from "./install/install.ts";
import { mendInstall } from "./install/mend.ts";
import { publish } from "./publish/publish.ts";
import type { PublishedTree } from "./tree/published.ts";
import { plainSource, releaseId } from "./release.fixture.ts";
import { removeInstall } from "./install/remove-install.ts";
import { makeSpare } from "./install/spare.ts";

/** For tests of what only another process can meet: publishes, installs, mends, removes or makes a spare, and prints the result as JSON. */
const [step, depot = "", place = "", more = "", tree = "null"] = process.argv.slice(2);
const { signal } = new AbortController();

async function runPublish(): Promise<unknown> {
  return await publish({
    source: plainSource(place),
    depot: directoryDepot(depot),
    previous: JSON.parse(tree) as PublishedTree | null,
    now: 1_700_000_000_000,
    cacheDir: more,
    signal,
  });
}

/** What an install and its mending are told alike. */
const installed = () => ({
  release: releaseId(Number(more)),
  tree: JSON.parse(tree) as PublishedTree,
  depots: [directoryDepot(depot)],
  revs: place,
  signal,
});

async function runInstall(onProgress?: InstallOptions["onProgress"]): Promise<unknown> {
  return await install({
    ...installed(),
    link: true,
    ...(onProgress === undefined ? {} : { onProgress }),
  }).catch((err: unknown) => ({ error: err }));
}

/** Somebody else fills the disk once the install has seen that it fits; then there is room again. */
async function installOnFilling(): Promise<unknown> {
  const filler = path.join(place, "filler");
  let isFull = false;
  const first = await runInstall(({ stage }) => {
    if (stage !== "local" || isFull) return;
    isFull = true;
    fill(filler);
  });
  const left = fs.readdirSync(path.join(place, ".install"));
  fs.rmSync(filler);
  return { first, left, second: await runInstall() };
}

function fill(file: string): void {
  const fd = fs.openSync(file, "w");
  try {
    for (;;) fs.writeSync(fd, Buffer.alloc(65_536, 1));
  } catch {
    // It is full.
  } finally {
    fs.closeSync(fd);
  }
}

/** The most memory that was this process's own at a time. */
function peakMib(): number {
  const status = fs.readFileSync("/proc/self/status", "utf8");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}

async function runMend(): Promise<unknown> {
  return await mendInstall({ ...installed(), full: false });
}

async function runRemove(): Promise<unknown> {
  await removeInstall(place, releaseId(Number(more)));
  return {};
}

async function runSpare(): Promise<unknown> {
  return await makeSpare({ revs: place, release: releaseId(Number(more)), leastFiles: 0, signal });
}

const steps: Readonly<Record<string, () => Promise<unknown>>> = {
  publish: runPublish,
  "publish-measured": async () => ({ ...Object(await runPublish()), peakMib: peakMib() }),
  install: () => runInstall(),
  "install-measured": async () => ({ ...Object(await runInstall()), peakMib: peakMib() }),
  "install-on-filling": installOnFilling,
  mend: runMend,
  remove: runRemove,
  spare: runSpare,
};
const user = Number(process.env["RUN_AS"] ?? process.getuid?.());
if (user !== process.getuid?.()) {
  process.setgid?.(user);
  process.setuid?.(user);
}
process.stdout.write(JSON.stringify(await steps[step ?? ""]?.()));
