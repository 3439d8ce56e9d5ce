import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import type { Revoke } from "../document/documents.ts";
import { openEnvelope, seal } from "../document/envelope.ts";
import { keyIdOf, verifySignature } from "./keys.ts";
import { agentSigner, agentSigners } from "./ssh-agent.ts";
import { SK_SSH_ED25519, sshSignatureBlob, sshSignedBytes } from "./sshsig.ts";
import { wireString } from "./ssh-wire.ts";

const run = promisify(execFile);
const hasOpenSsh =
  spawnSync("ssh-keygen", ["-?"]).error === undefined && spawnSync("ssh-agent", ["-?"]).error === undefined;
const skip = hasOpenSsh ? false : "OpenSSH is not here; type: apt-get install openssh-client";
const message = Buffer.from("what is signed");

async function temporary(t: TestContext): Promise<string> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-ssh-"));
  atEnd(t, () => fs.rm(dir, { recursive: true, force: true }));
  return dir;
}

/** A real ssh-agent with a new key of each of `types`. */
async function realAgent(t: TestContext, types: readonly string[]): Promise<{ dir: string; socket: string }> {
  const dir = await temporary(t);
  const socket = path.join(dir, "agent.sock");
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "ignore"] });
  atEnd(t, () => agent.kill("SIGKILL"));
  await once(agent.stdout, "data");
  for (const type of types) {
    const file = path.join(dir, `id_${type}`);
    await run("ssh-keygen", ["-q", "-t", type, "-N", "", "-C", `${type}@test`, "-f", file]);
    await run("ssh-add", ["-q", file], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
  }
  return { dir, socket };
}

test("a key in a real ssh-agent signs documents that open", { skip }, async (t) => {
  const { socket } = await realAgent(t, ["ed25519", "ecdsa"]);
  const signer = await agentSigner({ socket });
  assert.equal(signer.comment, "ed25519@test");
  assert.equal(signer.kid, keyIdOf({ alg: "sshsig", pub: signer.pub }));
  const body: Revoke = {
    cluster: "c".repeat(32),
    node: signer.kid,
    reason: "lost",
    issued: "2026-11-21T02:00:00.000Z",
  };
  const envelope = await seal("revoke.1", body, [signer]);
  assert.deepEqual(openEnvelope(envelope, "revoke.1", new Map([[signer.kid, signer]]), 1).body, body);
  const inPlain = new Map([[signer.kid, { alg: "raw", pub: signer.pub } as const]]);
  assert.throws(() => openEnvelope(envelope, "revoke.1", inPlain, 1), { code: "DOC_UNSIGNED" });
});

test("ssh-keygen agrees with us in both directions", { skip }, async (t) => {
  const { dir, socket } = await realAgent(t, ["ed25519"]);
  const signer = await agentSigner({ socket });
  const file = path.join(dir, "message");
  await fs.writeFile(file, message);

  await run("ssh-keygen", ["-q", "-Y", "sign", "-n", "skein", "-f", path.join(dir, "id_ed25519"), file]);
  const armored = await fs.readFile(`${file}.sig`, "utf8");
  const blob = Buffer.from(armored.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  assert.equal(verifySignature(signer, message, blob), true);

  const ours = Buffer.from(await signer.sign(message)).toString("base64");
  const lines = ours.match(/.{1,70}/g)?.join("\n") ?? "";
  await fs.writeFile(`${file}.sig`, `-----BEGIN SSH SIGNATURE-----\n${lines}\n-----END SSH SIGNATURE-----\n`);
  const publicLine = await fs.readFile(path.join(dir, "id_ed25519.pub"), "utf8");
  await fs.writeFile(path.join(dir, "allowed"), `me ${publicLine}`);
  const verify = [
    "-Y",
    "verify",
    "-n",
    "skein",
    "-I",
    "me",
    "-f",
    path.join(dir, "allowed"),
    "-s",
    `${file}.sig`,
  ];
  const checked = spawnSync("ssh-keygen", verify, { input: message });
  assert.equal(checked.status, 0, checked.stderr.toString());
});

test("a signature for another namespace is none", { skip }, async (t) => {
  const { dir, socket } = await realAgent(t, ["ed25519"]);
  const signer = await agentSigner({ socket });
  const file = path.join(dir, "message");
  await fs.writeFile(file, message);
  await run("ssh-keygen", ["-q", "-Y", "sign", "-n", "git", "-f", path.join(dir, "id_ed25519"), file]);
  const armored = await fs.readFile(`${file}.sig`, "utf8");
  const blob = Buffer.from(armored.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  assert.equal(verifySignature(signer, message, blob), false);
});

test("which key is meant must be said when the agent holds several", { skip }, async (t) => {
  const { dir, socket } = await realAgent(t, ["ed25519"]);
  const [first] = await agentSigners({ socket });
  assert.ok(first);
  const second = path.join(dir, "second");
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", second]);
  await run("ssh-add", ["-q", second], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
  await assert.rejects(agentSigner({ socket }), { code: "KEY_UNREADABLE" });
  assert.equal((await agentSigner({ socket, kid: first.kid })).pub, first.pub);
});

test("no agent, a dead one and one that talks nonsense are told apart from a refusal", async (t) => {
  const dir = await temporary(t);
  await assert.rejects(agentSigners({ socket: "" }), { code: "KEY_UNREADABLE" });
  await assert.rejects(agentSigners({ socket: path.join(dir, "nobody") }), { code: "KEY_UNREADABLE" });
  for (const answer of [[0, 0, 0, 1, 5], [0, 0, 0, 5, 12, 0, 0, 0, 9], [255, 255, 255, 255], []]) {
    const socket = path.join(dir, `odd-${answer.join("-")}`);
    const server = net.createServer((peer) => peer.on("error", () => undefined).end(Buffer.from(answer)));
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    atEnd(t, () => server.close());
    await assert.rejects(agentSigners({ socket }), { code: "KEY_UNREADABLE" });
  }
});

test("waiting for an agent ends with the caller's signal", async (t) => {
  const dir = await temporary(t);
  const socket = path.join(dir, "silent");
  const stop = new AbortController();
  const server = net.createServer((peer) => {
    peer.on("error", () => undefined);
    stop.abort();
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  atEnd(t, () => server.close());
  await assert.rejects(agentSigners({ socket, signal: stop.signal }), { name: "AbortError" });
});

/** No FIDO key here: the blob is made as PROTOCOL.u2f says, so that the verifying side is still tested. */
function touchedSignature(flags: number, application = "ssh:"): { pub: string; blob: Buffer } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const pub = publicKey.export({ format: "jwk" }).x ?? "";
  const raw = Buffer.from(pub, "base64url");
  const tail = Buffer.from([flags, 0, 0, 0, 7]);
  const sha = (data: Buffer | string): Buffer => createHash("sha256").update(data).digest();
  const covered = Buffer.concat([sha(application), tail, sha(sshSignedBytes(message))]);
  const wireKey = Buffer.concat([wireString(SK_SSH_ED25519), wireString(raw), wireString(application)]);
  const signature = Buffer.concat([
    wireString(SK_SSH_ED25519),
    wireString(sign(null, covered, privateKey)),
    tail,
  ]);
  return { pub, blob: sshSignatureBlob(wireKey, signature) };
}

test("a FIDO key's signature counts when it was touched", () => {
  const touched = touchedSignature(1);
  assert.equal(verifySignature({ alg: "sk", pub: touched.pub }, message, touched.blob), true);
  assert.equal(verifySignature({ alg: "sshsig", pub: touched.pub }, message, touched.blob), false);
  const untouched = touchedSignature(0);
  assert.equal(verifySignature({ alg: "sk", pub: untouched.pub }, message, untouched.blob), false);
  const web = touchedSignature(1, "https://example.com");
  assert.equal(verifySignature({ alg: "sk", pub: web.pub }, message, web.blob), false);
  assert.equal(
    verifySignature({ alg: "sk", pub: touched.pub }, message, touched.blob.subarray(0, 90)),
    false,
  );
});
