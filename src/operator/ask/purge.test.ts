import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { nodeKeys } from "../../agent/node/node-keys.ts";
import { HubClient } from "../../api/hub-client.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { digestOfEnvelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { tlsIdentity } from "../../trust/connection/tls.ts";
import { cluster, type Cluster } from "../cluster.fixture.ts";
import { deploy } from "../deploy/deploy.ts";
import { hubsFor } from "../identity/signer-and-hubs.ts";
import { openOperator } from "../identity/operator.ts";
import { pin } from "./purge.ts";

/** A node that answers the first command it is given. */
async function answering(made: Cluster, name: string, result: object): Promise<AsyncDisposable> {
  await made.absent(name);
  const { signer } = await nodeKeys(path.join(made.dir, name));
  const { config, charter } = made.operator;
  const client = new HubClient({
    hubs: hubsFor(config, charter),
    identity: tlsIdentity(signer.privateKey, "node"),
  });
  const nothing = { knows: [], receipts: [], instances: [], apps: [], progress: [] };
  await client.report({
    boot: "boot-0001",
    at: timeOf(Date.now()),
    address: "127.0.0.1",
    version: "0",
    ...nothing,
  });
  const answer = async (): Promise<void> => {
    const command = await eventually(`a command for ${name}`, async () => {
      return (await client.wanted(undefined, 0))?.commands[0] ?? assert.fail();
    });
    const body = Readable.from([`${JSON.stringify({ type: "result", ...result })}\n`]);
    await client.answerCommand(digestOfEnvelope(command), signer.kid, body, made.signal);
  };
  const done = answer();
  done.catch(() => undefined);
  return {
    async [Symbol.asyncDispose]() {
      await done;
      client.close();
    },
  };
}

test("a node that refuses a pin is not told as one that has it, nor one that is away", async (t) => {
  const made = await cluster(t);
  const { absent, options, dir, signal } = made;
  await absent("n3");
  mkdirSync(path.join(dir, "app"));
  writeFileSync(path.join(dir, "app", "readme.txt"), "hello");
  const { draft } = await deploy(made.operator, options({ from: path.join(dir, "app") }));
  await using _good = await answering(made, "n1", { ok: true });
  await using _full = await answering(made, "n2", { ok: false, code: "TOO_MANY", message: "32 are pinned" });
  const { release } = draft.order;
  const wish = { app: "app", env: "default", selector: "all", release, pinned: true };
  using operator = await openOperator({ paths: made.paths, signal });
  const answers = await pin(operator, wish, signal);
  assert.deepEqual(
    answers.map(({ node, outcome, code }) => [node, outcome, code]),
    [
      ["n1", "ok", null],
      ["n2", "failed", "TOO_MANY"],
      ["n3", "silent", null],
    ],
  );
});
