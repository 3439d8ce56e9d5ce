import assert from "node:assert/strict";
import { test } from "node:test";
import { directoryDocuments } from "../depot/directory/directory-documents.ts";
import { orderBody, release, testCluster } from "../trust/cluster.fixture.ts";
import { counted, entryOf, folder, lateListings, tools } from "./bucket.fixture.ts";
import { listRoot, namesUnder, readRoot } from "./entries.ts";
import { withLateListing } from "./late-listing.ts";
import { orderName, releaseName, releasePlace } from "./layout.ts";
import { publishCharters, publishOrder, publishRelease, withdrawRelease } from "./publish.ts";

const MADE = 1_800_000_000_000;
const ORDER = orderName({ app: "shop", env: "default", epoch: 0, seq: 1, digest: null });

test("what a command before published stays in the root where listings are late", async (t) => {
  const cluster = await testCluster();
  const server = lateListings(directoryDocuments(folder(t)));
  const command = () => tools(withLateListing(server), t.signal);
  const places = [1, 2].map((n) => releasePlace("shop", MADE + n, release(n)));
  const [first = assert.fail(), second = assert.fail()] = places;
  await publishCharters([cluster.envelope], command());
  await publishRelease(first, cluster.envelope, command());
  await publishOrder(await entryOf(cluster, orderBody(1)), command());
  await publishRelease(second, cluster.envelope, command());
  const look = await readRoot(server, undefined, t.signal);
  const { root } = look === "same" ? assert.fail() : look;
  assert.equal(root.charter, 1);
  assert.deepEqual(root.apps["shop"]?.orders, { default: ORDER });
  assert.deepEqual(root.apps["shop"]?.releases.newest, places.map(releaseName).reverse());
  server.catchUp();
  assert.deepEqual(await listRoot(server, t.signal), root, "as it is when listings are right again");
});

test("what was removed is in no listing, however late, and what others removed is not brought back", async (t) => {
  const cluster = await testCluster();
  const server = lateListings(directoryDocuments(folder(t)));
  const [own, other] = [withLateListing(server), withLateListing(server)];
  const [mine, theirs] = [1, 2].map((n) => releasePlace("shop", MADE + n, release(n)));
  assert.ok(mine && theirs);
  await publishRelease(mine, cluster.envelope, tools(own, t.signal));
  await publishRelease(theirs, cluster.envelope, tools(own, t.signal));
  server.catchUp();
  await withdrawRelease(mine, tools(own, t.signal));
  await withdrawRelease(theirs, tools(other, t.signal));
  const listed = await namesUnder(own, "releases/", t.signal);
  assert.ok(!listed.includes(releaseName(mine)));
  server.catchUp();
  assert.deepEqual(await namesUnder(own, "releases/", t.signal), []);
});

test("a listing has all that was written here in its place, once, however much of it comes late", async (t) => {
  const server = lateListings(directoryDocuments(folder(t)));
  const own = withLateListing(server);
  const write = async (name: string) => await own.write(name, Buffer.from(name), {}, t.signal);
  await write("d/5");
  await server.write("d/2", Buffer.from("somebody else's"), {}, t.signal);
  server.catchUp();
  for (const name of ["d/6", "d/4", "d/1", "d/3", "e/1"]) await write(name);
  await own.delete("d/3", t.signal);
  await write("d/3");
  assert.deepEqual(await namesUnder(own, "d/", t.signal), ["d/1", "d/2", "d/3", "d/4", "d/5", "d/6"]);
});

test("what was written here is no lie: all of it is looked for, however much it is", async (t) => {
  const never = withLateListing({
    ...directoryDocuments(folder(t)),
    read: async (name) => ({ bytes: Buffer.from(name), etag: name }),
    write: async (name) => name,
    list: async function* () {},
  });
  const many = Array.from({ length: 200 }, (_, n) => `f/${n + 100}`);
  for (const name of many) await never.write(name, Buffer.from(name), {}, t.signal);
  assert.deepEqual(await namesUnder(never, "f/", t.signal), many);
});

test("a root that was read counts whatever is read after it; one that nobody can read is remade", async (t) => {
  const cluster = await testCluster();
  const server = lateListings(directoryDocuments(folder(t)));
  const place = releasePlace("shop", MADE, release(1));
  await server.write("root.json", Buffer.from("no root"), {}, t.signal);
  await publishRelease(place, cluster.envelope, tools(withLateListing(server), t.signal));
  const own = withLateListing(server);
  await readRoot(own, undefined, t.signal);
  await own.read(releaseName(place), undefined, t.signal);
  assert.deepEqual(await namesUnder(own, "releases/", t.signal), [releaseName(place)]);
});

test("right listings cost nothing more, and a root that lies leads to a bounded number of reads", async (t) => {
  const cluster = await testCluster();
  const { store, calls } = counted(directoryDocuments(folder(t)));
  const documents = withLateListing(store);
  await publishRelease(releasePlace("shop", MADE, release(1)), cluster.envelope, tools(documents, t.signal));
  calls.length = 0;
  await namesUnder(documents, "releases/", t.signal);
  assert.deepEqual(calls, ["list releases/"]);
  const environments = Array.from(
    { length: 1000 },
    (_, n) => [`e${n}`, ORDER.replace("default", `e${n}`)] as const,
  );
  const shop = {
    releases: { count: 0, digest: release(1).repeat(2), newest: [] },
    orders: Object.fromEntries(environments),
  };
  const root = Buffer.from(JSON.stringify({ format: 1, charter: 0, apps: { shop } }));
  await store.write("root.json", root, {}, t.signal);
  await readRoot(documents, undefined, t.signal);
  calls.length = 0;
  assert.deepEqual(await namesUnder(documents, "orders/", t.signal), []);
  assert.ok(calls.length <= 101, `${calls.length} calls`);
});

test("a root that names what can be no document holds up nobody who publishes", async (t) => {
  const cluster = await testCluster();
  const store = directoryDocuments(folder(t));
  const shop = {
    releases: { count: 1, digest: release(1).repeat(2), newest: ["releases/../charters", "releases/shop/"] },
    orders: { default: `orders/shop/default/${"x".repeat(300)}` },
  };
  const root = Buffer.from(JSON.stringify({ format: 1, charter: 0, apps: { shop } }));
  await store.write("root.json", root, {}, t.signal);
  const place = releasePlace("shop", MADE, release(1));
  await publishRelease(place, cluster.envelope, tools(withLateListing(store), t.signal));
  const look = await readRoot(store, undefined, t.signal);
  const mended = look === "same" ? assert.fail() : look.root;
  assert.deepEqual(mended.apps["shop"]?.releases.newest, [releaseName(place)]);
});
