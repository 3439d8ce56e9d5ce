import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import type { Paths } from "../lib/disk/paths.ts";
import type { TestCluster, TestNode } from "../trust/cluster.fixture.ts";
import { digestOfEnvelope, seal } from "../trust/document/envelope.ts";
import { timeOf } from "../trust/document/fields.ts";
import { generateSigner } from "../trust/keys/keys.ts";
import { acceptBirth, newNodeState } from "../trust/node/node-state.ts";
import { nodeKeys } from "./node/node-keys.ts";
import { createNodeStore } from "./node/node-store.ts";

const HOUR = 3_600_000;

const ago = (ms: number): string => timeOf(Date.now() - ms);

/** A node that has joined as its agent does: its keys and its state are on the disk. */
export async function joined(cluster: TestCluster, paths: Paths, name: string): Promise<TestNode> {
  const { signer, sealing } = await nodeKeys(paths.etc);
  const joinKey = generateSigner();
  const labels = { role: "web" };
  const ticket = await seal(
    "ticket.1",
    {
      cluster: cluster.charter.cluster,
      charter: cluster.pin,
      key: joinKey.pub,
      name,
      labels,
      issued: ago(HOUR),
      expires: timeOf(Date.now() + HOUR),
      replace: null,
      floor: {},
    },
    [cluster.alice],
  );
  const enrol = await seal(
    "enrol.1",
    {
      cluster: cluster.charter.cluster,
      ticket: digestOfEnvelope(ticket),
      key: signer.pub,
      sealing,
      name,
      issued: ago(0),
    },
    [joinKey, signer],
  );
  const context = { now: Date.now(), self: signer.kid };
  const born = acceptBirth(
    newNodeState(cluster.envelope, cluster.pin, context.now),
    { ticket, enrol },
    context,
  );
  assert.equal(born.outcome.kind, "accepted");
  fs.mkdirSync(path.join(paths.lib, "state"), { recursive: true });
  await createNodeStore(path.join(paths.lib, "state"), born.state);
  return { signer, identity: { node: signer.kid, name, labels, serial: 0 }, ticket, enrol };
}
