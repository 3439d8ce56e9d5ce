import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { errnoOf } from "../../lib/errors/errors.ts";
import { silentLog } from "../../lib/process/log.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { openRecords } from "../plan/records.ts";
import { instanceId } from "../../lib/text/instance-id.ts";
import { openRegistryHost } from "./registry-host.ts";
import { bench, deploy, listenAt, plainNode, processPlan, releasePlan } from "../runtime/runtime.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

test("a dead instance leaves the table with the event of its end, though the keeper answers nothing more", async (t) => {
  const b = await bench(t);
  const release = randomBytes(16).toString("hex");
  const plan = releasePlan(
    b.release({ "app.js": plainNode("here") }),
    processPlan("node app.js", { listen: { http: listenAt(null) }, restart: { ...RESTART } }),
    { release },
  );
  await deploy(b.runtime, plan, undefined, b.signal);
  const state = path.join(b.home, "state");
  fs.mkdirSync(state);
  await using host = await openRegistryHost({
    runtime: b.runtime,
    records: await openRecords(path.join(state, "apps")),
    stateDir: state,
    self: generateSigner().kid,
    node: () => "n1",
    log: silentLog,
  });
  const caller = { app: "shop", env: "default", release: release as never, uses: [] };
  const table = async (): Promise<unknown[]> =>
    (await (await fetch(`${host.url(caller)}/services`)).json()) as never;
  assert.equal((await table()).length, 1);
  const [own] = await b.runtime.list();
  assert.ok(own !== undefined);
  // Instances are called what they find in SKEIN_INSTANCE, wherever they are.
  const far = { ...own, env: own.environment, instance: `${instanceId(own)}:http`, nodeName: "n2" };
  host.setRemote([{ ...far, node: generateSigner().kid, stale: false, current: true } as never]);
  assert.deepEqual(
    (await table()).map((answer) => (answer as { readonly instance: string }).instance),
    ["web.1", "web.1"],
  );
  host.setRemote([]);
  const keeper = b.keeperPid();
  atEnd(t, () => goOn(keeper));
  const told = Promise.withResolvers<void>();
  atEnd(
    t,
    b.runtime.onEvent((event) => {
      if (event.type !== "exited") return;
      process.kill(keeper, "SIGSTOP"); // whoever asks it for its list now waits
      told.resolve();
    }),
  );
  const [row] = await b.runtime.list();
  process.kill(row?.pid ?? 0, "SIGKILL");
  await told.promise;
  assert.deepEqual(await table(), []);
  goOn(keeper);
  await eventually("one again", async () => (await table()).length === 1); // its successor is found again
});

/** The keeper may have been ended by then. */
function goOn(keeper: number): void {
  try {
    process.kill(keeper, "SIGCONT");
  } catch (err) {
    if (errnoOf(err) !== "ESRCH") throw err;
  }
}

/** At once again, and for ever. */
const RESTART = { backoffMinMs: 200, backoffMaxMs: 200, limit: 100, limitWithinMs: 60_000 };
