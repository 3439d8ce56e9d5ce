import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import type { DepotReader } from "../seam/depot.ts";
import { BLOB, swarmOf } from "../peers/peers.fixture.ts";
import { PIECE_BYTES } from "../cache/piece-file.ts";
import { s3Depot } from "./s3-depot.ts";
import { freshBucket, sharedS3Server } from "./s3-server.fixture.ts";

const SIZE = 8 * PIECE_BYTES + 777;
const PEERS = 6;
const server = sharedS3Server({ conditional: false });

test("nodes that read from a bucket give its pieces to each other, and the bucket sends about one copy (long)", async (t) => {
  const bytes = randomBytes(SIZE);
  const depot = s3Depot(await freshBucket(t, await server()), "blobs/");
  const blob = {
    size: SIZE,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    async *open(offset: number) {
      yield bytes.subarray(offset);
    },
  };
  await depot.put(BLOB, blob, t.signal);
  let given = 0;
  const counted: DepotReader = {
    kind: depot.kind,
    name: depot.name,
    has: async (...what) => await depot.has(...what),
    list: (...what) => depot.list(...what),
    async *get(...what) {
      for await (const piece of depot.get(...what)) {
        given += piece.length;
        yield piece;
      }
    },
  };
  const peers = await swarmOf(t, PEERS, { ...counted, bytes, quiet: depot });
  const read = await Promise.all(peers.map(async (peer) => await peer.read()));
  for (const got of read) assert.ok(got.equals(bytes));
  assert.ok(given >= SIZE && given <= 1.5 * SIZE, `${given / SIZE} copies`);
  const from = (kind: string): number => peers.reduce((sum, { by }) => sum + (by.get(kind) ?? 0), 0);
  assert.ok(from("peer") >= (PEERS - 1.5) * SIZE, `${from("peer")} bytes of peers`);
  assert.ok(from("bucket") > 0, "what came from the bucket is told as that");
});
