import { directoryDepot } from "../../src/depot/directory/directory.ts";
import type { ReleaseId } from "../../src/lib/text/ids.ts";
import { install } from "../../src/release/install/install.ts";
import { publish } from "../../src/release/publish/publish.ts";
import type { PublishedTree } from "../../src/release/tree/published.ts";
import { makeSpare } from "../../src/release/install/spare.ts";
import { directorySource } from "../../src/source/directory.ts";

/** One step of the release benchmark in a process of its own, so that its CPU time can be told from the rest. */
const [step, ...args] = process.argv.slice(2);
const { signal } = new AbortController();

async function runPublish(
  source: string,
  depot: string,
  cacheDir: string,
  previous: string,
): Promise<unknown> {
  return await publish({
    source: directorySource(source),
    depot: directoryDepot(depot),
    previous: previous === "" ? null : (JSON.parse(previous) as PublishedTree),
    now: 1_790_000_000_000,
    cacheDir,
    signal,
  });
}

async function runInstall(tree: string, depot: string, revs: string, release: string): Promise<unknown> {
  return await install({
    release: release as ReleaseId,
    tree: JSON.parse(tree) as PublishedTree,
    depots: [directoryDepot(depot)],
    revs,
    link: true,
    signal,
  });
}

async function runSpare(revs: string, release: string): Promise<unknown> {
  return { made: await makeSpare({ revs, release: release as ReleaseId, signal }) };
}

const [a = "", b = "", c = "", d = ""] = args;
const steps: Readonly<Record<string, () => Promise<unknown>>> = {
  publish: () => runPublish(a, b, c, d),
  install: () => runInstall(a, b, c, d),
  spare: () => runSpare(a, b),
};
const began = performance.now();
const result = await steps[step ?? ""]?.();
const wall = (performance.now() - began) / 1000;
const rss = Math.round(process.resourceUsage().maxRSS / 1024);
process.stdout.write(`${JSON.stringify({ ...(result as object), wall, rss })}\n`);
