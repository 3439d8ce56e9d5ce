import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import dns from "node:dns";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { depotConformance, prunableConformance } from "../seam/depot.conformance.ts";
import type { BlobSource, PrunableDepot } from "../seam/depot.ts";
import { documentsConformance } from "../seam/documents.conformance.ts";
import type { DocumentStore } from "../seam/documents.ts";
import { badMiddle } from "./bad-middle.fixture.ts";
import { openBucket } from "./bucket.ts";
import { s3Depot } from "./s3-depot.ts";
import { keepsConditions, s3Documents } from "./s3-documents.ts";
import { freshBucket, sharedS3Server } from "./s3-server.fixture.ts";

const plain = sharedS3Server({ conditional: false });
const conditional = sharedS3Server({ conditional: true });

/** Small parts, so that blobs of some 100 KB are sent and read in several. */
const PARTS = {
  upload: { singleBytes: 250_000, partBytes: 200_000, atOnce: 2 },
  download: { partBytes: 60_000, atOnce: 2 },
};

const blobOf = (bytes: Buffer): BlobSource => ({
  size: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
  async *open(offset) {
    yield bytes.subarray(offset);
  },
});

async function openDepot(t: TestContext, options = PARTS): Promise<PrunableDepot> {
  return s3Depot(await freshBucket(t, await plain()), "blobs/", options);
}

depotConformance("s3", openDepot);
prunableConformance("s3", openDepot);

test("s3: a bucket that is named by the host is read, written, listed and signed as one in the path", async (t) => {
  const s3 = await plain();
  const name = await s3.makeBucket();
  // No resolver knows the name; everything else is real.
  t.mock.method(dns, "lookup", lookupHere);
  const { port } = new URL(s3.endpoint);
  const env = { ...s3.env, AWS_ENDPOINT_URL: `http://s3.test:${port}`, AWS_S3_STYLE: "host" };
  using byHost = await openBucket(`s3://${name}/some/prefix`, env);
  using byPath = await openBucket(`s3://${name}/some/prefix`, s3.env);
  const depot = s3Depot(byHost, "", PARTS);
  const bytes = randomBytes(500_000);
  await depot.put("packs/a", blobOf(bytes), t.signal);
  await depot.rename("packs/a", "packs/b", t.signal);
  assert.deepEqual([...(await depot.has(["packs/a", "packs/b"], t.signal))], ["packs/b"]);
  for (const bucket of [byHost, byPath]) {
    const reader = s3Depot(bucket, "", PARTS);
    assert.deepEqual(await Array.fromAsync(reader.list("packs/", t.signal)), ["packs/b"]);
    assert.ok(Buffer.concat(await Array.fromAsync(reader.get("packs/b", t.signal))).equals(bytes));
  }
  await depot.delete("packs/b", t.signal);
  assert.deepEqual(await Array.fromAsync(depot.list("", t.signal)), []);
});

/** Holds each request up until there is another; one that stays alone goes on after a while. */
class Pairs {
  made = 0;
  #first: (() => void) | undefined;

  async wait(signal: AbortSignal): Promise<void> {
    if (this.#first !== undefined) {
      this.made += 1;
      this.#first();
    } else {
      const second = new Promise<void>((resolve) => (this.#first = resolve));
      await Promise.race([second, sleep(PATIENCE_MS / 10, undefined, { signal, ref: false })]);
    }
    this.#first = undefined;
  }
}

test("s3: parts of a large blob are under way two at a time, as it is stored and as it is read", async (t) => {
  const middle = await badMiddle(t, await plain());
  const bucket = await freshBucket(t, await plain(), {}, middle.env);
  const depot = s3Depot(bucket, "", PARTS);
  const bytes = randomBytes(480_000);
  const pairs = new Pairs();
  // Two parts of 240,000 go there; a quarter comes at once, and then parts of 60,000.
  middle.hold = async ({ url = "" }) =>
    url.includes("partNumber=") ? await pairs.wait(t.signal) : undefined;
  const { upload } = PARTS;
  const evenly = s3Depot(bucket, "", { ...PARTS, upload: { ...upload, partBytes: 240_000 } });
  await evenly.put("packs/a", blobOf(bytes), t.signal);
  middle.hold = async ({ headers }) =>
    /=(?:2[4-9]|[34]\d)\d{4}-/.test(headers.range ?? "") ? await pairs.wait(t.signal) : undefined;
  assert.ok(Buffer.concat(await Array.fromAsync(depot.get("packs/a", t.signal))).equals(bytes));
  assert.equal(pairs.made, 3);
});

/** As `dns.lookup`, for a resolver that knows this machine only. */
function lookupHere(_host: string, { all = false }: dns.LookupOptions, done: LookupDone): void {
  if (all) done(null, [{ address: "127.0.0.1", family: 4 }]);
  else done(null, "127.0.0.1", 4);
}
type LookupDone = (err: null, address: string | dns.LookupAddress[], family?: number) => void;

for (const [kind, server] of [
  ["s3 without conditional writes", plain],
  ["s3 with conditional writes", conditional],
] as const) {
  const open = async (t: TestContext): Promise<DocumentStore> => {
    const bucket = await freshBucket(t, await server());
    const keeps = await keepsConditions(bucket, "documents/", t.signal);
    assert.equal(keeps, server === conditional);
    return s3Documents(bucket, "documents/", { conditional: keeps });
  };
  documentsConformance(kind, open, true);
}
