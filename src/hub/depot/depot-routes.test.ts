import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs/promises";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { HubClient } from "../../api/hub-client.ts";
import { depotConformance } from "../../depot/seam/depot.conformance.ts";
import type { BlobSource, Depot, DepotReader } from "../../depot/seam/depot.ts";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { Traffic } from "../../depot/traffic/traffic.ts";
import { systemClock } from "../../lib/time/clock.ts";
import { readBlob } from "../../release/fetch/blobs.ts";
import { encodePack, packName } from "../../release/tree/pack.ts";
import { getBlob } from "./depot-routes.ts";
import {
  joinNode,
  makeCluster,
  makeRelease,
  operatorClient,
  startTestHub,
  type TestHub,
} from "../hub.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

depotConformance("http", async (t) => {
  const hub = await startTestHub(t);
  return httpDepot(hub.client);
});

test("a small blob's answer says its length and nothing that HTTP does without", async (t) => {
  const hub = await startTestHub(t);
  await httpDepot(hub.client).put("index/one", blobOf(Buffer.from("small")), t.signal);
  const get = async (path: string): Promise<[string[], string]> => {
    const response = await hub.client.raw({ method: "GET", path, signal: t.signal });
    return [Object.keys(response.headers).sort(), String(await response.toArray())];
  };
  assert.deepEqual(await get("/v1/depot/blobs/index/one"), [["content-length"], "small"]);
});

test("the accounts of a collection are written by nobody else", async (t) => {
  const depot = httpDepot((await startTestHub(t)).client);
  for (const name of ["upkeep/0123", "retired/0123/packs/a"]) {
    await assert.rejects(depot.put(name, blobOf(Buffer.from("x")), t.signal), { code: "BAD_REQUEST" });
  }
  assert.equal((await depot.has(["upkeep/0123", "retired/0123/packs/a"], t.signal)).size, 0);
});

const blobOf = (bytes: Buffer): BlobSource => ({
  size: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
  async *open(offset) {
    for (let at = offset; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
  },
});

/** A pack of nothing. */
function smallPack(): { readonly name: string; readonly bytes: Buffer } {
  const { id, pieces } = encodePack([], Buffer.alloc(0), new Map());
  return { name: packName(id), bytes: Buffer.concat(pieces) };
}

/** A line to the hub that breaks after so many bytes in a direction, `cuts` times, then holds. */
async function badLine(
  t: TestContext,
  hub: TestHub,
  cuts: number,
  afterBytes: number,
): Promise<{ client: HubClient; cut: () => number }> {
  let left = cuts;
  const open = new Set<net.Socket>();
  const proxy = net.createServer((near) => {
    const far = net.connect(hub.port, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      let passed = 0;
      open.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
      from.on("data", (data: Buffer) => {
        passed += data.length;
        if (left > 0 && passed > afterBytes) {
          left -= 1;
          near.resetAndDestroy();
          far.destroy();
        } else if (!to.destroyed && !to.write(data)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
      });
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  atEnd(t, () => {
    for (const socket of open) socket.destroy();
    proxy.close();
  });
  const address = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const client = await operatorClient(hub.cluster, address);
  atEnd(t, () => client.close());
  return { client, cut: () => cuts - left };
}

async function readAll(depot: Depot, name: string, signal: AbortSignal): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of depot.get(name, signal)) pieces.push(piece);
  return Buffer.concat(pieces);
}

test("an upload that is cut again and again goes on from what arrived", async (t) => {
  const hub = await startTestHub(t);
  const { client, cut } = await badLine(t, hub, 4, 1_000_000);
  const bytes = randomBytes(6_000_000);
  let sent = 0;
  const blob = blobOf(bytes);
  const counted: BlobSource = {
    ...blob,
    async *open(offset) {
      for await (const piece of blob.open(offset)) {
        sent += piece.length;
        yield piece;
      }
    },
  };
  await httpDepot(client).put("packs/big", counted, t.signal);
  assert.equal(cut(), 4);
  assert.ok(sent < 2 * bytes.length, `${sent} bytes were sent`);
  assert.ok((await readAll(httpDepot(hub.client), "packs/big", t.signal)).equals(bytes));
});

test("a download that is cut goes on with the bytes that lack", async (t) => {
  const hub = await startTestHub(t);
  const bytes = randomBytes(5_000_000);
  await httpDepot(hub.client).put("packs/big", blobOf(bytes), t.signal);
  const { client, cut } = await badLine(t, hub, 3, 1_200_000);
  assert.ok((await readAll(httpDepot(client), "packs/big", t.signal)).equals(bytes));
  assert.equal(cut(), 3);
});

/** Serves one depot as the hub does, with little patience, to whoever connects. */
async function impatient(t: TestContext, depot: DepotReader): Promise<number> {
  const patience = { graceMs: 2000, bytesPerSec: 10_000_000 };
  const server = http.createServer((req, res) => {
    getBlob(depot, "packs/big", req, res, t.signal, patience).catch(() => res.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.close());
  return (server.address() as AddressInfo).port;
}

test("a reader that does not read is cut, and the next one gets its turn (long)", async (t) => {
  const bytes = randomBytes(32_000_000);
  const home = await fs.mkdtemp(path.join(os.tmpdir(), "skein-slow-"));
  atEnd(t, async () => fs.rm(home, { recursive: true, force: true }));
  const far = directoryDepot(home);
  await far.put("packs/big", blobOf(bytes), t.signal);
  const port = await impatient(t, new Traffic({ atOnce: 1 }, systemClock).sending(far));
  const stuck = net.connect(port, "127.0.0.1").pause();
  atEnd(t, () => stuck.destroy());
  stuck.write("GET /packs/big HTTP/1.1\r\nhost: hub\r\n\r\n");
  await once(stuck, "readable");
  const answer = await fetch(`http://127.0.0.1:${port}/packs/big`);
  assert.ok(Buffer.from(await answer.arrayBuffer()).equals(bytes), "who reads is not cut");
  let left = 0;
  stuck.on("data", (data: Buffer) => (left += data.length)).on("error", () => undefined);
  await once(stuck, "close");
  assert.ok(left < bytes.length, "it has what the sockets held");
});

test("a hub that stays away is given up on", async (t) => {
  const hub = await startTestHub(t);
  const { client } = await badLine(t, hub, Infinity, 0);
  const clock = { now: () => Date.now(), sleep: async () => undefined };
  const depot = httpDepot(client, { clock, tries: 3 });
  await assert.rejects(readAll(depot, "packs/big", t.signal), { code: "HUB_UNREACHABLE" });
  await assert.rejects(depot.put("packs/big", blobOf(Buffer.from("x")), t.signal), {
    code: "HUB_UNREACHABLE",
  });
});

test("bytes that are not those announced never become a blob", async (t) => {
  const hub = await startTestHub(t);
  const wrong = { ...blobOf(Buffer.from("true")), sha256: createHash("sha256").update("else").digest("hex") };
  await assert.rejects(httpDepot(hub.client).put("packs/a", wrong, t.signal), { code: "CHUNK_CORRUPT" });
  assert.deepEqual([...(await httpDepot(hub.client).has(["packs/a"], t.signal))], []);
  const files = await fs.readdir(path.join(hub.home, "lib", "depot", "uploads"));
  assert.deepEqual(files, []);
});

test("nodes read blobs and write none; deleting is for admins", async (t) => {
  const cluster = await makeCluster(["deploy:shop/*", "enrol:*"]);
  const hub = await startTestHub(t, { cluster });
  const node = await joinNode(t, hub, "web1");
  const { name, bytes } = smallPack();
  await httpDepot(hub.client).put(name, blobOf(bytes), t.signal);
  const depot = httpDepot(node.client);
  assert.ok((await readAll(depot, name, t.signal)).equals(bytes));
  await assert.rejects(depot.put(name, blobOf(bytes), t.signal), { code: "NOT_AUTHORISED" });
  await assert.rejects(depot.delete(name, t.signal), { code: "NOT_AUTHORISED" });
  await assert.rejects(httpDepot(hub.client).delete(name, t.signal), { code: "NOT_AUTHORISED" });
});

test("small blobs come with a release, and are held to what uploads are", async (t) => {
  const hub = await startTestHub(t);
  const depot = httpDepot(hub.client);
  const { envelope } = await makeRelease(hub.cluster, "shop", "one");
  const named = smallPack();
  const index = { name: "index/a", bytes: Buffer.from("leads to it") };
  await hub.client.postRelease(envelope, t.signal, [index, named]);
  assert.equal((await hub.client.releases({ app: "shop" })).length, 1);
  assert.ok((await readBlob(depot, named.name, 1000, t.signal)).equals(named.bytes));
  assert.equal((await readBlob(depot, index.name, 100, t.signal)).toString(), "leads to it");
  const two = (await makeRelease(hub.cluster, "shop", "two")).envelope;
  for (const name of [`packs/${"0".repeat(64)}`, "upkeep/ledger", "retired/a", "../a"]) {
    const bad = { name, bytes: named.bytes };
    await assert.rejects(hub.client.postRelease(two, t.signal, [bad]), { code: "BAD_REQUEST" }, name);
  }
  assert.equal((await hub.client.releases({ app: "shop" })).length, 1);
});

test("an odd range, or an upload without its headers, is refused", async (t) => {
  const hub = await startTestHub(t);
  await httpDepot(hub.client).put("packs/a", blobOf(Buffer.from("abc")), t.signal);
  for (const range of ["bytes=-2", "bytes=0-1,2-3", "lines=1-2", "bytes=2-1"]) {
    const headers = { range };
    await assert.rejects(hub.client.raw({ method: "GET", path: "/v1/depot/blobs/packs/a", headers }), {
      code: "BAD_REQUEST",
    });
  }
  await assert.rejects(hub.client.raw({ method: "PUT", path: "/v1/depot/blobs/packs/b", body: "x" }), {
    code: "BAD_REQUEST",
  });
});

test("a blob's name that is too long to upload is refused as such", async (t) => {
  const hub = await startTestHub(t);
  const depot = httpDepot(hub.client);
  const blob = blobOf(Buffer.from("x"));
  const longest = `packs/${"a".repeat(154)}`;
  await depot.put(longest, blob, t.signal);
  assert.equal((await depot.has([longest], t.signal)).size, 1);
  for (const name of [`${longest}a`, `packs/${"a".repeat(194)}`, `packs/${"a".repeat(300)}`]) {
    await assert.rejects(depot.put(name, blob, t.signal), { code: "BAD_REQUEST" });
  }
});

test("what a cut upload left is swept while the hub runs", async (t) => {
  const home = await fs.mkdtemp(path.join(os.tmpdir(), "skein-sweep-"));
  atEnd(t, async () => fs.rm(home, { recursive: true, force: true }));
  await startTestHub(t, { home, uploadsSweptEachMs: 20 });
  const uploads = path.join(home, "lib", "depot", "uploads");
  await fs.mkdir(uploads, { recursive: true });
  const [old, fresh] = [path.join(uploads, "packs+old"), path.join(uploads, "packs+fresh")];
  await fs.writeFile(fresh, "part");
  const aside = path.join(home, "old");
  await fs.writeFile(aside, "part");
  const longAgo = new Date(Date.now() - 25 * 3_600_000);
  await fs.utimes(aside, longAgo, longAgo);
  await fs.rename(aside, old);
  await eventually("the old one goes", async () => !(await fs.readdir(uploads)).includes("packs+old"));
  assert.deepEqual(await fs.readdir(uploads), ["packs+fresh"]);
});
