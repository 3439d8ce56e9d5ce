import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { tlsIdentity } from "../../trust/connection/tls.ts";
import { PeerClient } from "./peer-client.ts";
import { BLOB, origin, swarmOf } from "./peers.fixture.ts";
import { PIECE_BYTES } from "../cache/piece-file.ts";
import { Forest, stripeOf } from "./picking.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { blobCache } from "../cache/blob-cache.ts";
import { proveBlob } from "./proof.ts";
import { Standing } from "./standing.ts";
import { Swarm, type PeerNet } from "./swarm.ts";

/** As many as a node gives pieces to at a time. */
const AT_ONCE = 48;
const SIZE = 20 * PIECE_BYTES + 777;

test("ten nodes that read at once cost the origin about one copy (long)", async (t) => {
  const far = origin(SIZE);
  const peers = await swarmOf(t, 10, far);
  const read = await Promise.all(peers.map(async (peer) => await peer.read()));
  for (const bytes of read) assert.ok(bytes.equals(far.bytes));
  assert.ok(far.given <= 1.5 * SIZE, `${far.given / SIZE} copies`);
  assert.ok(peers.every(({ by }) => (by.get("peer") ?? 0) > 0));
  const counted = (kind: string): number => peers.reduce((sum, { by }) => sum + (by.get(kind) ?? 0), 0);
  const [hub, peer] = [counted("hub"), counted("peer")];
  assert.deepEqual([counted("cache"), hub + peer], [0, 10 * SIZE], "also what came for a peer first");
  assert.ok(hub >= SIZE && hub <= far.given, `${hub / SIZE} copies`);
  assert.ok((await peers[0]?.read())?.equals(far.bytes));
  assert.deepEqual([counted("cache"), counted("hub"), counted("peer")], [SIZE, hub, peer]);
});

test("a small blob comes with the answer to the first question, and is kept", async (t) => {
  const far = origin(16_384);
  const [peer] = await swarmOf(t, 3, far);
  for (const kind of ["hub", "cache"]) {
    const pieces: Uint8Array[] = [];
    const counted = new Map<string, number>();
    const depot = peer?.depot.counted((from, bytes) => counted.set(from, bytes));
    const range = kind === "cache" ? { start: 0, end: far.bytes.length } : undefined;
    for await (const piece of depot?.get(BLOB, t.signal, range) ?? []) pieces.push(piece);
    assert.ok(Buffer.concat(pieces).equals(far.bytes));
    assert.deepEqual([...counted], [[kind, far.bytes.length]]);
  }
  assert.equal(far.given, 0, "the origin was asked for nothing more");
});

test("a node that comes when all others are done costs the origin nothing (long)", async (t) => {
  const far = origin(SIZE);
  const peers = await swarmOf(t, 6, far);
  const [last, ...others] = peers;
  await Promise.all(others.map(async (peer) => await peer.read()));
  const before = far.given;
  assert.ok((await last?.read())?.equals(far.bytes));
  assert.ok(far.given - before < 0.5 * SIZE, `${(far.given - before) / SIZE} copies`);
  assert.ok(far.given <= 1.5 * SIZE, `${far.given / SIZE} copies in all`);
});

for (const proofs of [true, false]) {
  const how = proofs ? "by" : "without";
  test(`a peer that gives other bytes is found out and put aside, ${how} the hub's hashes`, async (t) => {
    const far = origin(SIZE);
    const liar = 2;
    const peers = await swarmOf(t, 5, far, {
      proofs,
      give: (peer, _want, honest) => async (want, held, signal) => {
        const answer = await honest(want, held, signal);
        return peer === liar ? { ...answer, bytes: randomBytes(answer.bytes.length) } : answer;
      },
    });
    const honest = peers.filter((_, n) => n !== liar);
    const name = peers[liar]?.name ?? "";
    for (const peer of honest) {
      let bytes = await peer.read();
      // Without hashes only who reads can see it; then the range is read anew past what lied.
      if (!proofs && !bytes.equals(far.bytes)) {
        const pieces: Uint8Array[] = [];
        for await (const piece of peer.depot.mending.get(BLOB, t.signal, { start: 0, end: SIZE }))
          pieces.push(piece);
        bytes = Buffer.concat(pieces);
        assert.ok((await peer.read()).equals(far.bytes));
      }
      assert.ok(bytes.equals(far.bytes));
    }
    assert.ok(honest.some((peer) => peer.standing.out().has(name)));
  });
}

test("who lies again is put aside for longer, although he gave something each time", async (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-peers-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true }));
  let now = 0;
  const standing = new Standing(
    () => now,
    () => 0.5,
  );
  const far = origin(SIZE);
  const proof = await proveBlob(far.quiet, BLOB, t.signal);
  const forest = new Forest(["own", "liar"]);
  const piece = Array.from({ length: 64 }, (_, n) => n).find(
    (n) => forest.parent(stripeOf(BLOB, n), "own", new Set()) === "liar",
  );
  assert.ok(piece !== undefined && (piece + 1) * PIECE_BYTES <= SIZE);
  const want = { name: BLOB, start: piece * PIECE_BYTES, end: (piece + 1) * PIECE_BYTES };
  const net: PeerNet = {
    self: "own",
    forest: async () => forest,
    proof: async () => proof,
    ask: async () => ({ bytes: Buffer.alloc(PIECE_BYTES, 7), ends: false, waitedMs: 0 }),
  };
  const near = blobCache({ dir, maxBytes: 0, now: () => now });
  const swarm = new Swarm({ net, near, origin: far, standing });
  for (const asideMs of [600_000, 2_400_000, 3_600_000]) {
    const { bytes } = await swarm.piece(want, t.signal);
    assert.ok(Buffer.from(bytes).equals(far.bytes.subarray(want.start, want.end)));
    now += asideMs - 1;
    assert.deepEqual([...standing.liars()], ["liar"], `${asideMs} ms`);
    now += 1;
    assert.deepEqual([...standing.out()], []);
  }
});

test("peers that vanish in the middle of a piece are done without", async (t) => {
  const far = origin(SIZE);
  const ends: (() => Promise<void>)[] = [];
  const peers = await swarmOf(t, 6, far, {
    give: (peer, _want, honest) => async (want, held, signal) => {
      if (peer === 3) {
        await ends[0]?.();
        throw new SkeinError("IO", "gone");
      }
      return await honest(want, held, signal);
    },
  });
  ends.push(async () => await peers[3]?.stop());
  const others = peers.filter((_, n) => n !== 3);
  const read = await Promise.all(others.map(async (peer) => await peer.read()));
  for (const bytes of read) assert.ok(bytes.equals(far.bytes));
  assert.ok(far.given <= 2 * SIZE, `${far.given / SIZE} copies`);
});

test("a peer that stands still is passed over, and is not asked again for a while (long)", async (t) => {
  const far = origin(SIZE);
  const peers = await swarmOf(t, 6, far, {
    give: (peer, _want, honest) => async (want, held, signal) => {
      if (peer === 1) await sleep(60_000, undefined, { signal });
      return await honest(want, held, signal);
    },
  });
  const others = peers.filter((_, n) => n !== 1);
  // Noted when it happens: at the end of a long read the while may be over.
  const putAside = new Set<string>();
  for (const { standing } of others) {
    const failed = standing.failed.bind(standing);
    t.mock.method(standing, "failed", (...args: Parameters<typeof failed>) => {
      failed(...args);
      for (const name of standing.out()) putAside.add(name);
    });
  }
  for (const peer of others) {
    for (const one of others) if (one !== peer) peer.standing.gave(one.name, PIECE_BYTES, 20);
  }
  const read = await Promise.all(others.map(async (peer) => await peer.read()));
  for (const bytes of read) assert.ok(bytes.equals(far.bytes));
  assert.ok(putAside.has(peers[1]?.name ?? ""));
  assert.ok(far.given <= 2 * SIZE, `${far.given / SIZE} copies`);
});

test("without the origin, what any peer holds is found", async (t) => {
  const far = origin(SIZE);
  const peers = await swarmOf(t, 4, far);
  await peers[2]?.read();
  far.isGone = true;
  for (const peer of peers) assert.ok((await peer.read()).equals(far.bytes));
  const nowhere = { name: "packs/b", start: 0, end: 10 };
  await assert.rejects(async () => await peers[0]?.swarm.piece(nowhere, t.signal), { code: "BLOB_MISSING" });
});

test("without the origin, a slow peer is waited for: nobody could give it sooner", async (t) => {
  const far = origin(SIZE);
  const [one, last] = await swarmOf(t, 2, far);
  assert.ok(one !== undefined && last !== undefined);
  await one.read();
  far.isGone = true;
  // Pieces came fast from the origin while it was there: who takes ten seconds for one is slow by that.
  last.standing.originGave(PIECE_BYTES, 1);
  type Ask = PeerClient["ask"];
  const slow = async (...[, , want, how]: Parameters<Ask>): ReturnType<Ask> => {
    if (how.patienceMs() < 10_000) throw new SkeinError("TIMEOUT", "slow", { data: { sending: true } });
    return { bytes: far.bytes.subarray(want.start, want.end), ends: want.end >= SIZE, waitedMs: 0 };
  };
  const asked = t.mock.method(PeerClient.prototype, "ask", slow);
  assert.ok((await last.read()).equals(far.bytes));
  assert.ok(asked.mock.callCount() > 0, "it had some of it from the other's questions, not all");
});

test("strangers are given nothing, and a peer that holds another key is sent nothing", async (t) => {
  const far = origin(PIECE_BYTES);
  const [peer] = await swarmOf(t, 1, far);
  assert.ok(peer !== undefined);
  await peer.read();
  const identity = tlsIdentity(generateSigner().privateKey, "stranger");
  const want = { name: BLOB, start: 0, end: 10 };
  const asking = { held: true, patienceMs: () => 5000, signal: t.signal };
  using stranger = new PeerClient(identity);
  await assert.rejects(stranger.ask(peer.name, peer.place, want, asking), { code: "UNKNOWN_CLIENT" });
  using doubter = new PeerClient(identity);
  const elsewhere = { ...peer.place, spki: "0".repeat(64) };
  await assert.rejects(doubter.ask(peer.name, elsewhere, want, asking), { code: "PIN_MISMATCH" });
});

test("who was let in once is refused as soon as it is no member any more", async (t) => {
  const far = origin(SIZE);
  const revoked = new Set<string>();
  const peers = await swarmOf(t, 2, far, { admits: async (node) => !revoked.has(node) });
  await Promise.all(peers.map(async (peer) => await peer.read({ start: 0, end: 10 * PIECE_BYTES })));
  for (const peer of peers) revoked.add(peer.name);
  const before = far.given;
  assert.ok((await peers[0]?.read())?.equals(far.bytes));
  assert.equal(far.given - before, SIZE - 10 * PIECE_BYTES);
});

test("only ranges of one piece of a blob can be asked for, by a blob's name", async (t) => {
  const far = origin(2 * PIECE_BYTES);
  const [one, two] = await swarmOf(t, 2, far);
  assert.ok(one !== undefined && two !== undefined);
  const ask = async (name: string, start: number, end: number) =>
    await one.ask(two, { name, start, end }, t.signal);
  for (const name of ["../etc/passwd", "packs/../../x", "A", ""]) {
    await assert.rejects(ask(name, 0, 10), { code: "BAD_REQUEST" }, name);
  }
  await assert.rejects(ask(BLOB, PIECE_BYTES - 1, PIECE_BYTES + 1), { code: "BAD_REQUEST" });
  await assert.rejects(ask("packs/none", 0, 10), { code: "BLOB_MISSING" });
  assert.ok(Buffer.from((await ask(BLOB, 5, 10)).bytes).equals(far.bytes.subarray(5, 10)));
});

test("strangers that are being looked up take no member's turn", async (t) => {
  const far = origin(PIECE_BYTES);
  const stranger = generateSigner();
  const lookedUp = Promise.withResolvers<void>();
  let strangers = 0;
  const admits = async (node: string): Promise<boolean> => {
    if (node !== String(stranger.kid)) return true;
    strangers += 1;
    await lookedUp.promise;
    return false;
  };
  const [one, other] = await swarmOf(t, 2, far, { admits });
  assert.ok(one !== undefined && other !== undefined);
  const want = { name: BLOB, start: 0, end: PIECE_BYTES };
  const clients = Array.from({ length: AT_ONCE / 3 }, () => {
    const client = new PeerClient(tlsIdentity(stranger.privateKey, "stranger"));
    atEnd(t, () => client[Symbol.dispose]());
    return client;
  });
  const options = { held: false, patienceMs: () => 60_000, signal: t.signal };
  const refused: Promise<unknown>[] = [];
  // One after the other: a connection has little time to be made. One that is not in that time is asked for again.
  const knock = async (client: PeerClient): Promise<boolean> => {
    const before = strangers;
    const answer = client.ask(other.name, other.place, want, options);
    refused.push(answer);
    await Promise.race([
      answer.catch(() => undefined),
      eventually("it is looked up", () => strangers > before),
    ]);
    return strangers > before;
  };
  for (let n = 0; n < AT_ONCE; n++)
    await eventually("a stranger is looked up", async () => await knock(clients[n % clients.length]!));
  const all = Promise.allSettled(refused);
  const { bytes } = await eventually("a member's turn", async () => await one.ask(other, want, t.signal));
  assert.ok(Buffer.from(bytes).equals(far.bytes));
  lookedUp.resolve();
  for (const { status } of await all) assert.equal(status, "rejected");
});
