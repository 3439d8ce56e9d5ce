import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { joinNode, keyClient, makeCluster, startTestHub, tempHome } from "../hub/hub.fixture.ts";
import { openSqliteStore, restoreSqliteStore } from "../store/sqlite.ts";
import { backupHub } from "./backup.ts";

test("a running hub's store is copied whole, and a hub starts from the copy", async (t) => {
  const hub = await startTestHub(t);
  const node = await joinNode(t, hub, "web1");
  const home = await tempHome(t);
  const file = path.join(home, "hub.backup");
  assert.ok((await backupHub(hub.client, file, t.signal)) > 0);
  assert.deepEqual(await fs.readdir(home), ["hub.backup"]);
  assert.equal((await fs.stat(file)).mode & 0o777, 0o600);

  const target = path.join(home, "lib", "hub.db");
  const { incarnation } = await restoreSqliteStore(file, target);
  assert.notEqual(incarnation, hub.hub.core.store.incarnation);
  const store = await openSqliteStore(target);
  const again = await startTestHub(t, { cluster: hub.cluster, home, store });
  assert.deepEqual(
    (await again.client.nodes()).nodes.map(({ node: kid }) => kid),
    [node.kid],
  );
});

test("only an admin may copy the store, and a failed copy leaves nothing", async (t) => {
  const hub = await startTestHub(t, { cluster: await makeCluster(["deploy:*/*", "enrol:*"]) });
  const home = await tempHome(t);
  const file = path.join(home, "hub.backup");
  await assert.rejects(backupHub(hub.client, file, t.signal), { code: "NOT_AUTHORISED" });
  using stranger = keyClient(hub.cluster, hub.address);
  await assert.rejects(backupHub(stranger, file, t.signal), { code: "UNKNOWN_CLIENT" });
  assert.deepEqual(await fs.readdir(home), []);
});
