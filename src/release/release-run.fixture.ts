import { directoryDepot } from "../depot/directory.ts";
import { install } from "./install.ts";
import { publish } from "./publish.ts";
import type { PublishedTree } from "./published.ts";
import { plainSource, releaseId } from "./release.fixture.ts";

/** For tests that end a process at a fault point: publishes or installs, and prints the result as JSON. */
const [step, depot = "", place = "", more = "", tree = "null"] = process.argv.slice(2);
const { signal } = new AbortController();
const result =
  step === "publish"
    ? await publish({
        source: plainSource(place),
        depot: directoryDepot(depot),
        previous: JSON.parse(tree) as PublishedTree | null,
        now: 1_700_000_000_000,
        cacheDir: more,
        signal,
      })
    : await install({
        release: releaseId(Number(more)),
        tree: JSON.parse(tree) as PublishedTree,
        depots: [directoryDepot(depot)],
        revs: place,
        link: true,
        signal,
      }).catch((err: unknown) => ({ error: err }));
process.stdout.write(JSON.stringify(result));
