/** Releases that are placed ahead of their deployment, by a signed command. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { blobCache } from "../../depot/cache/blob-cache.ts";
import { PIECE_BYTES } from "../../depot/cache/piece-file.ts";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { releaseIdOf, type Command } from "../../trust/document/documents.ts";
import { readUnverified, seal, type Envelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import { generateSigner, type LocalSigner } from "../../trust/keys/keys.ts";
import { answer, ended, webApp, world, type World } from "../agent.fixture.ts";
import { answerTo, ask, commandTo, type Line } from "../programs/command.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

const idOf = (release: Envelope): string => releaseIdOf(readUnverified(release, "release.1"));
const argsFor = (release: Envelope) => ({ release: idOf(release), document: JSON.stringify(release) });
const expires = (): string => timeOf(Date.now() + 86_400_000);

async function stage(
  w: World,
  release: Envelope,
  more: { readonly signer?: LocalSigner; readonly env?: string; readonly args?: Command["args"] } = {},
): Promise<Line[]> {
  const { args, ...fields } = more;
  return await ask(w, "stage", { ...argsFor(release), ...args }, { expires: expires(), ...fields });
}

const revs = (w: World): string[] =>
  fs.readdirSync(path.join(w.paths.lib, "apps/shop/revs")).filter((name) => /^[0-9a-f]{32}$/.test(name));

test("a staged release runs nothing, and its deployment needs no depot", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  await eventually("its first report", () => w.report() !== undefined);
  const release = await w.publish(webApp(port, "v1"));
  const lines = await stage(w, release);
  const [staged, result] = lines.slice(-2);
  assert.deepEqual(
    [staged?.["type"], staged?.["already"], result],
    ["staged", false, { type: "result", ok: true }],
  );
  assert.ok(Number(staged?.["bytesFetched"]) > 0);
  assert.deepEqual([revs(w), w.current(), w.report()?.instances], [[idOf(release)], undefined, []]);
  fs.rmSync(w.depotDir, { recursive: true });
  const again = await stage(w, release);
  assert.deepEqual([again[0]?.["already"], again[0]?.["bytesFetched"]], [true, 0]);
  const ordered = await w.order(release);
  w.offer({ orders: [ordered.envelope], releases: [release], gates: { [ordered.digest]: "go" } });
  await w.receipt(ordered.digest, "ok");
  assert.equal(await answer(port), "v1");
  assert.deepEqual(w.report()?.apps[0]?.sources ?? {}, {}, "no byte came from anywhere");
});

test("staged in full, everything is fetched anew, and through the cache that is renewed as well", async (t) => {
  const w = await world(t);
  const noise = Buffer.from(Array.from({ length: 60_000 }, (_, n) => (n * n * 31) % 251));
  await w.agent();
  const release = await w.publish(webApp(await freePort(), "v1", { "noise.bin": noise }));
  const sourcesOf = (lines: readonly Line[]) =>
    lines.find(({ type }) => type === "staged")?.["sources"] as Record<string, number>;
  const first = sourcesOf(await stage(w, release));
  const again = sourcesOf(await stage(w, release));
  assert.ok((first["directory"] ?? 0) > 0);
  assert.deepEqual(again, {});
  const dir = path.join(w.paths.lib, "cache");
  const cache = blobCache({ dir, maxBytes: 2 ** 30, now: () => Date.now() });
  const { pack, good } = await eventually("what came is in the cache", async () => {
    const { name = "" } = (await cache.blobs()).find((blob) => blob.name.startsWith("packs/")) ?? {};
    const held = name === "" ? undefined : await cache.read(name, 0, PIECE_BYTES);
    return held?.ends === true ? { pack: name, good: Buffer.from(held.bytes) } : undefined;
  });
  // Its file is sound, and tells nobody that these are other bytes than the pack's.
  const wrong = Buffer.from(good.map((byte) => byte ^ 1));
  await cache.write(pack, 0, wrong, true);
  for (const [args, kept] of [
    [{ full: true }, wrong],
    [{ throughCache: true }, good],
  ] as const) {
    const sources = sourcesOf(await stage(w, release, { args }));
    assert.deepEqual(Object.keys(sources), ["directory"]);
    assert.ok((sources["directory"] ?? 0) >= (first["directory"] ?? 0));
    const held = await cache.read(pack, 0, PIECE_BYTES);
    assert.ok(kept.equals(held?.bytes ?? assert.fail()), JSON.stringify(args));
  }
  fs.rmSync(path.join(w.depotDir, "blobs/packs"), { recursive: true });
  fs.rmSync(path.join(w.paths.lib, "apps/shop/revs"), { recursive: true });
  const cached = sourcesOf(await stage(w, release));
  assert.ok((cached["cache"] ?? 0) > (cached["directory"] ?? 0), JSON.stringify(cached));
});

test("only an operator's word stages, and only what the release's document proves", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const release = await w.publish(webApp(port, "v1"));
  const [stranger] = await stage(w, release, { signer: generateSigner() });
  assert.equal(stranger?.["code"], "DOC_UNSIGNED");
  const forged = await seal("release.1", readUnverified(release, "release.1"), [generateSigner()]);
  const [unproven] = await stage(w, forged);
  assert.equal(unproven?.["code"], "ORDER_UNKNOWN_RELEASE");
  const first = await w.deploy(webApp(port, "v0"));
  await w.receipt(first.digest, "ok");
  const [other] = await stage(w, release, { env: "prod" });
  assert.equal(other?.["code"], "ENV_CONFLICT");
  assert.deepEqual(revs(w), [first.release]);
});

for (const fault of ["agent.staging", "install.fetched", "install.recorded", "agent.staged"]) {
  test(`killed at ${fault}, the agent finishes the staging at its next start`, async (t) => {
    const w = await world(t);
    const release = await w.publish(webApp(await freePort(), "v1"));
    const command = await commandTo(w, "stage", argsFor(release), { expires: expires() });
    w.offer({ commands: [command] });
    assert.equal((await ended(w.child(fault))).signal, "SIGKILL");
    await w.agent();
    assert.deepEqual((await answerTo(w, command)).at(-1), { type: "result", ok: true });
    assert.deepEqual(revs(w), [idOf(release)]);
  });
}

test("gc leaves staged releases alone, but for the oldest of too many (long)", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const keepOne = {
    "skein.yaml": `${String(webApp(port, "")["skein.yaml"])}keep: { releases: 1, good: 1 }\n`,
  };
  const releases: Envelope[] = [];
  for (const version of ["s1", "s2", "s3", "s4"])
    releases.push(await w.publish(webApp(port, version, keepOne)));
  const running = await w.deploy(webApp(port, "v1", keepOne));
  await w.receipt(running.digest, "ok");
  for (const release of releases) assert.equal((await stage(w, release)).at(-1)?.["ok"], true);
  const left = await eventually("the oldest is gone", async () =>
    revs(w).length === 4 ? revs(w) : undefined,
  );
  assert.deepEqual(left.sort(), [running.release, ...releases.slice(1).map(idOf)].sort());
  const next = await w.deploy(webApp(port, "v2", keepOne));
  await w.receipt(next.digest, "ok");
  for (const release of releases.slice(1))
    assert.ok(revs(w).includes(idOf(release)), "after a deployment too");
});
