import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { depotFaultsConformance } from "../seam/depot-faults.conformance.ts";
import type { BlobSource } from "../seam/depot.ts";
import { badMiddle } from "./bad-middle.fixture.ts";
import { openBucket, type BucketOptions, type S3Bucket } from "./bucket.ts";
import { s3Depot } from "./s3-depot.ts";
import { s3Documents } from "./s3-documents.ts";
import { freshBucket, sharedS3Server } from "./s3-server.fixture.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

const server = sharedS3Server({ conditional: true });

/** Waits for nothing, and counts how often it was to wait. */
function hasty(): Clock & { waits: number } {
  const clock = {
    waits: 0,
    now: () => Date.now(),
    sleep: async () => {
      clock.waits += 1;
      return await Promise.resolve();
    },
  };
  return clock;
}

const blobOf = (bytes: Buffer): BlobSource => ({
  size: bytes.length,
  sha256: createHash("sha256").update(bytes).digest("hex"),
  async *open(offset) {
    for (let at = offset; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
  },
});

const PARTS = {
  upload: { singleBytes: 100_000, partBytes: 100_000, atOnce: 2 },
  download: { partBytes: 1_000_000, atOnce: 2 },
};

depotFaultsConformance(
  "s3",
  { code: "DEPOT_UNREACHABLE", tellsSize: true },
  async (t, name, bytes, { answerMs, pace, tries }) => {
    const middle = await badMiddle(t, await server());
    const options = { clock: hasty(), tries, patience: { connectMs: 5000, answerMs, pace } };
    const bucket = await freshBucket(t, await server(), options, middle.env);
    const honest = await openBucket(bucket.name, (await server()).env);
    await s3Depot(honest, "").put(name, blobOf(bytes), t.signal);
    honest[Symbol.dispose]();
    let requests = 0;
    const bad = {
      reader: s3Depot(bucket, "", PARTS),
      misbehave: (_n: number): ReturnType<typeof middle.misbehave> => undefined,
      requests: () => requests,
    };
    middle.misbehave = ({ url = "" }) => (url.includes(name) ? bad.misbehave((requests += 1)) : undefined);
    return bad;
  },
);

test("an upload whose parts are cut and refused now and then arrives whole", async (t) => {
  const middle = await badMiddle(t, await server());
  const bucket = await freshBucket(t, await server(), { clock: hasty() }, middle.env);
  const depot = s3Depot(bucket, "", PARTS);
  let n = 0;
  middle.misbehave = ({ method }) => {
    if (method !== "PUT") return undefined;
    n += 1;
    if (n % 3 === 0) return { kind: "status", status: 503 };
    return n % 4 === 0 ? { kind: "cut", afterBytes: 0 } : undefined;
  };
  const bytes = Buffer.alloc(950_000, "many parts ");
  await depot.put("packs/a", blobOf(bytes), t.signal);
  assert.ok((await readAll(t, bucket, "packs/a")).equals(bytes));
});

test("a blob that is replaced while it is read is never given half and half", async (t) => {
  const middle = await badMiddle(t, await server());
  const bucket = await freshBucket(t, await server(), { clock: hasty() }, middle.env);
  const depot = s3Depot(bucket, "", PARTS);
  const [old, other] = ["old ", "new "].map((text) => Buffer.alloc(90_000, text)) as [Buffer, Buffer];
  await depot.put("index/a", blobOf(old), t.signal);
  middle.misbehave = ({ method }) => (method === "GET" ? { kind: "cut", afterBytes: 10_000 } : undefined);
  const reading = (async () => {
    for await (const _ of depot.get("index/a", t.signal)) {
      await depot.put("index/a", blobOf(other), t.signal);
      middle.misbehave = () => undefined;
    }
  })();
  await assert.rejects(reading, { code: "CHUNK_CORRUPT" });
});

test("a server that ignores ranges costs more, and gives the right bytes", async (t) => {
  const middle = await badMiddle(t, await server());
  const bucket = await freshBucket(t, await server(), {}, middle.env);
  const depot = s3Depot(bucket, "", PARTS);
  const bytes = Buffer.from("0123456789".repeat(20_000));
  await depot.put("packs/a", blobOf(bytes), t.signal);
  middle.dropRange = true;
  const pieces: Uint8Array[] = [];
  for await (const piece of depot.get("packs/a", t.signal, { start: 5, end: 150_003 })) pieces.push(piece);
  assert.ok(Buffer.concat(pieces).equals(bytes.subarray(5, 150_003)));
});

test("a conditional write whose answer was lost is known for its own", async (t) => {
  const middle = await badMiddle(t, await server());
  const bucket = await freshBucket(t, await server(), { clock: hasty() }, middle.env);
  const documents = s3Documents(bucket, "", { conditional: true });
  let cuts = 1;
  middle.misbehave = ({ method }) =>
    method === "PUT" && cuts-- > 0 ? { kind: "cut", afterBytes: 0 } : undefined;
  await documents.write("a", Buffer.from("mine"), { if: null }, t.signal);
  await assert.rejects(documents.write("a", Buffer.from("yours"), { if: null }, t.signal), {
    code: "CONFLICT",
  });
});

async function readAll(t: TestContext, bucket: S3Bucket, name: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of s3Depot(bucket, "", PARTS).get(name, t.signal)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** What one PUT through settings that differ from the right ones ends with. */
async function refusalWith(
  t: TestContext,
  env: Readonly<Record<string, string>>,
  options: BucketOptions & { readonly location?: string } = {},
): Promise<unknown> {
  const { env: right } = await server();
  const location = options.location ?? (await freshBucket(t, await server())).name;
  const clock = hasty();
  using bucket = await openBucket(location, { ...right, ...env }, { clock, ...options });
  const outcome = await s3Depot(bucket, "")
    .put("a", blobOf(Buffer.from("x")), t.signal)
    .catch((err: unknown) => err);
  assert.equal(clock.waits, 0, "what will not pass by itself is not tried again");
  return outcome;
}

test("wrong keys, region, bucket and clock each end with one code at once", async (t) => {
  const like = (outcome: unknown, code: string, words: RegExp): void => {
    assert.ok(outcome instanceof Error && "code" in outcome && outcome.code === code, String(outcome));
    assert.match(outcome.message, words);
    for (const secret of ["testing", "wrong-secret"]) assert.ok(!JSON.stringify(outcome).includes(secret));
  };
  like(await refusalWith(t, { AWS_SECRET_ACCESS_KEY: "wrong-secret" }), "DEPOT_DENIED", /secret key is not/);
  like(await refusalWith(t, { AWS_ACCESS_KEY_ID: "nobody" }), "DEPOT_DENIED", /403/);
  like(await refusalWith(t, { AWS_REGION: "eu-west-9" }), "DEPOT_SETTINGS", /region us-east-1/);
  like(await refusalWith(t, {}, { location: "s3://no-such-bucket" }), "BUCKET_NOT_FOUND", /no such bucket/);
  const late: Clock = { ...hasty(), now: () => Date.now() + 20 * 60_000 };
  const { env } = await server();
  using skewed = await openBucket((await freshBucket(t, await server())).name, env, { clock: late });
  await assert.rejects(s3Depot(skewed, "").has(["a"], t.signal), { code: "CLOCK_SKEW" });
  const reading = s3Documents(skewed, "").read("a", undefined, t.signal);
  await assert.rejects(reading, (err: Error & { code?: string; data?: { skewMs?: number } }) => {
    assert.equal(err.code, "CLOCK_SKEW");
    assert.match(err.message, /this machine's clock and the server's differ too much, \S+Z and \S+Z /);
    assert.ok(Math.abs((err.data?.skewMs ?? 0) - 20 * 60_000) < 60_000, String(err.data?.skewMs));
    return true;
  });
});

test("a region that nobody gave is learnt from the server", async (t) => {
  const { env } = await server();
  const { AWS_REGION: _region, ...unsaid } = env;
  const { name } = await freshBucket(t, await server());
  using bucket = await openBucket(name, unsaid, { clock: hasty() });
  await s3Depot(bucket, "").put("a", blobOf(Buffer.from("x")), t.signal);
});

const CUT = new Map([
  ["s3.part:2", 3],
  ["s3.part:4", 1],
]);
for (const point of [...CUT.keys(), "s3.completed"]) {
  test(`killed at ${point}, an upload goes on with the parts that arrived`, async (t) => {
    const { env } = await server();
    const location = `s3://${await (await server()).makeBucket()}`;
    const script = childProgram(import.meta.dirname, "s3-put.child.ts");
    const put = (fault: string) =>
      spawnSync(process.execPath, [script, location], {
        env: {
          PATH: process.env["PATH"],
          NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
          ...env,
          SKEIN_FAULT: fault,
        },
        encoding: "utf8",
      });
    assert.equal(put(point).signal, "SIGKILL");
    using bucket = await openBucket(location, env);
    const depot = s3Depot(bucket, "", PARTS);
    assert.equal((await depot.has(["packs/a"], t.signal)).size, point === "s3.completed" ? 1 : 0);
    const again = put("");
    assert.equal(again.status, 0, again.stderr);
    assert.ok((await readAll(t, bucket, "packs/a")).equals(Buffer.alloc(450_000, 7)));
    const left = CUT.get(point);
    if (left !== undefined) assert.ok(Number(again.stdout) <= left, `${again.stdout} parts were sent again`);
    assert.equal(await depot.sweepUploads(0, Date.now() + 60_000, t.signal), 0);
  });
}

/** A server that shows one name and promises more, whatever it is asked. */
async function liar(t: TestContext): Promise<S3Bucket> {
  let pages = 0;
  const lies = http.createServer((_req, res) => {
    const key = `<Key>packs/${String((pages += 1)).padStart(9, "0")}</Key>`;
    const next = `<NextContinuationToken>${pages}</NextContinuationToken><NextKeyMarker>${pages}</NextKeyMarker>`;
    const upload = `<Upload>${key}<UploadId>u</UploadId><Initiated>2100-01-01T00:00:00Z</Initiated></Upload>`;
    res.end(`<L><IsTruncated>true</IsTruncated>${next}<Contents>${key}</Contents>${upload}</L>`);
  });
  lies.listen(0, "127.0.0.1");
  await once(lies, "listening");
  const endpoint = `http://127.0.0.1:${(lies.address() as AddressInfo).port}`;
  const bucket = await openBucket("s3://bucket", { ...(await server()).env, AWS_ENDPOINT_URL: endpoint });
  atEnd(t, () => {
    bucket[Symbol.dispose]();
    lies.close();
  });
  return bucket;
}

test("a server whose lists do not end is given up on with one code (long)", async (t) => {
  const depot = s3Depot(await liar(t), "", PARTS);
  const listed = async (): Promise<void> => {
    for await (const _ of depot.list("packs/", t.signal)) void _;
  };
  await assert.rejects(listed(), { code: "LIST_ENDLESS", data: { depot: "s3://bucket" } });
  await assert.rejects(depot.sweepUploads?.(0, Date.now(), t.signal) ?? listed(), { code: "LIST_ENDLESS" });
});

test("a list that a server cut and does not go on with is none", async (t) => {
  const middle = await badMiddle(t, await server());
  const bucket = await freshBucket(t, await server(), {}, middle.env);
  const documents = s3Documents(bucket, "");
  await documents.write("releases/a", Buffer.from("a"), {}, t.signal);
  middle.distort = ({ url = "" }, body) =>
    url.includes("list-type")
      ? Buffer.from(body.toString().replace(/<IsTruncated>false/, "<IsTruncated>true"))
      : body;
  await assert.rejects(Array.fromAsync(documents.list("releases/", t.signal)), { code: "DEPOT_REFUSED" });
  middle.distort = (_request, body) => Buffer.from(body.toString().replace("releases/a", "releases/100%"));
  const [listed] = await Array.fromAsync(documents.list("releases/", t.signal));
  assert.equal(listed?.name, "releases/100%", "a server that encodes nothing");
});

test("uploads that nobody went on with are swept away", async (t) => {
  const { env } = await server();
  const location = `s3://${await (await server()).makeBucket()}`;
  const script = childProgram(import.meta.dirname, "s3-put.child.ts");
  spawnSync(process.execPath, [script, location], {
    env: {
      PATH: process.env["PATH"],
      NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
      ...env,
      SKEIN_FAULT: "s3.part",
    },
  });
  using bucket = await openBucket(location, env);
  const depot = s3Depot(bucket, "");
  assert.equal(await depot.sweepUploads(3_600_000, Date.now(), t.signal), 0);
  assert.equal(await depot.sweepUploads(0, Date.now() + 60_000, t.signal), 1);
  assert.equal(await depot.sweepUploads(0, Date.now() + 60_000, t.signal), 0);
});
