import assert from "node:assert/strict";
import test from "node:test";
import { HubClient } from "../../api/hub-client.ts";
import { sessionHeader } from "../../api/hub-line.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { ephemeralIdentity } from "../../trust/connection/tls.ts";
import { readUnverified, seal, type Envelope } from "../../trust/document/envelope.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { generateSigner, spkiDigestOf, type LocalSigner } from "../../trust/keys/keys.ts";
import {
  at,
  charterWithOperator,
  HOUR,
  keyClient,
  makeCluster,
  startTestHub,
  type TestHub,
} from "../hub.fixture.ts";

/** A client of a TLS key of its own, and the session by which `operator` vouches for it. */
async function speaking(
  { cluster, address }: TestHub,
  operator: LocalSigner = cluster.operator,
): Promise<{ client: HubClient; session: Envelope }> {
  const identity = ephemeralIdentity();
  const session = await seal(
    "session.1",
    { cluster: cluster.id, operator: operator.kid, key: identity.spki, issued: at(), expires: at(HOUR) },
    [operator],
  );
  const hubs = [{ spki: spkiDigestOf(cluster.hubKey.pub), address }];
  return { client: new HubClient({ hubs, identity, session }), session };
}

test("a session opens nothing for another TLS key, also while its own is at it", async (t) => {
  const hub = await startTestHub(t);
  const { client, session } = await speaking(hub);
  using _ = client;
  using thief = keyClient(hub.cluster, hub.address);
  const borrowed = { method: "GET", path: "/v1/apps", headers: { "skein-session": sessionHeader(session) } };
  for (const isKnown of [false, true]) {
    if (isKnown) await client.apps();
    await assert.rejects(thief.raw(borrowed), {
      code: "UNKNOWN_CLIENT",
      message: "the session is for another TLS key",
    });
  }
});

test("a session that was used ends when its time is over", async (t) => {
  let ahead = 0;
  const hub = await startTestHub(t, { clock: { ...systemClock, now: () => Date.now() + ahead } });
  const { client } = await speaking(hub);
  using _ = client;
  await client.apps();
  ahead = HOUR;
  await assert.rejects(client.apps(), { code: "CLOCK_SKEW" });
});

test("whom the next charter drops is refused from then on, with the session that was good before", async (t) => {
  const cluster = await makeCluster();
  const bob = generateSigner();
  const withBob = await charterWithOperator(cluster, bob, ["deploy:*/*"]);
  const hub = await startTestHub(t, { cluster, charters: [cluster.charter, withBob] });
  const { client } = await speaking(hub, bob);
  using _ = client;
  await client.apps();
  const first = readUnverified(cluster.charter, "charter.1");
  const withoutBob: Charter = { ...first, version: 3, issued: at() };
  await hub.client.postCharter(await seal("charter.1", withoutBob, [cluster.operator]));
  await assert.rejects(client.apps(), { code: "UNKNOWN_CLIENT" });
});

test("a hub that has no charter yet takes nobody for an operator", async (t) => {
  const hub = await startTestHub(t, { charters: [] });
  await assert.rejects(hub.client.apps(), { code: "UNKNOWN_CLIENT" });
  assert.equal((await hub.client.hub()).charterVersion, 0);
});
