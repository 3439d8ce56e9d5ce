import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { depotConformance, prunableConformance } from "../depot.conformance.ts";
import type { PrunableDepot } from "../depot.ts";
import { documentsConformance } from "../documents.conformance.ts";
import type { DocumentStore } from "../documents.ts";
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

async function openDepot(t: TestContext, options = PARTS): Promise<PrunableDepot> {
  return s3Depot(await freshBucket(t, await plain()), "blobs/", options);
}

depotConformance("s3", openDepot);
prunableConformance("s3", openDepot);

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
