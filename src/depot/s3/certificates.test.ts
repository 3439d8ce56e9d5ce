import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { tlsIdentity } from "../../trust/connection/tls.ts";
import { bytesPayload, openBucket } from "./bucket.ts";
import { openPresigned, presignAll } from "./presigned.ts";
import { s3Documents } from "./s3-documents.ts";
import { sharedS3Server } from "./s3-server.fixture.ts";

const server = sharedS3Server({ conditional: false });

/** TLS before a server without it, by a certificate that only its own house knows. */
async function behindTls(t: TestContext, inner: string): Promise<{ endpoint: string; certificate: string }> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const identity = tlsIdentity(privateKey, "localhost");
  const front = https.createServer({ ...identity }, (req, res) => {
    const { method, headers } = req;
    const onward = http.request(new URL(req.url ?? "", inner), { method, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(res);
    });
    req.pipe(onward);
  });
  await once(front.listen(0, "localhost"), "listening");
  atEnd(t, () => {
    front.closeAllConnections();
    front.close();
  });
  return {
    endpoint: `https://localhost:${(front.address() as AddressInfo).port}`,
    certificate: identity.cert,
  };
}

test("a server with a certificate of its house is trusted by AWS_CA_BUNDLE, with keys or a list of addresses", async (t) => {
  const plain = await server();
  const name = await plain.makeBucket();
  const { endpoint, certificate } = await behindTls(t, plain.endpoint);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-house-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  const [bundle, list] = [path.join(dir, "house.pem"), path.join(dir, "list.json")];
  fs.writeFileSync(bundle, certificate);
  const stranger = { ...plain.env, AWS_ENDPOINT_URL: endpoint };
  const friend = { ...stranger, AWS_CA_BUNDLE: bundle };
  const options = { clock: systemClock, tries: 1 };

  using bucket = await openBucket(`s3://${name}`, friend, options);
  await bucket.tell({ method: "PUT", key: "a", body: bytesPayload(Buffer.from("a")), signal: t.signal });
  fs.writeFileSync(list, JSON.stringify(await presignAll(bucket, 600, systemClock, t.signal)));
  using refused = await openBucket(`s3://${name}`, stranger, options);
  using refusedList = await openPresigned(list, stranger, options);
  using reader = await openPresigned(list, friend, options);
  for (const unknown of [refused, refusedList]) {
    const reading = s3Documents(unknown, "").read("a", undefined, t.signal);
    await assert.rejects(reading, { code: "DEPOT_SETTINGS", message: /SELF_SIGNED/, hint: /AWS_CA_BUNDLE/ });
  }
  const read = await s3Documents(reader, "").read("a", undefined, t.signal);
  assert.ok(read !== undefined && read !== "same");
  assert.equal(Buffer.from(read.bytes).toString(), "a");
});

test("a bundle that cannot be read is told of before anything is asked", async () => {
  const env = { AWS_REGION: "us-east-1", AWS_CA_BUNDLE: "/nowhere/house.pem" };
  await assert.rejects(openBucket("s3://shop", env), {
    code: "DEPOT_SETTINGS",
    message: /AWS_CA_BUNDLE.*nowhere/,
  });
});
