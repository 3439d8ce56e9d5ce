/**
 * Writes docs/formats/vectors.json: documents of every type, made of fixed seeds and times, for whoever writes
 * another reader. Ed25519 signs the same bytes the same way each time, so a run that changes the file means
 * that the format changed.
 *
 *   node src/trust/vectors.fixture.ts > docs/formats/vectors.json
 */
import { fileURLToPath } from "node:url";
import { ROLLING } from "./strategy.fixture.ts";
import {
  releaseIdOf,
  rosterDigest,
  rosterText,
  type Charter,
  type DocumentBody,
  type DocumentType,
  type Order,
  type Roster,
} from "./document/documents.ts";
import { addSignature, digestOfEnvelope, seal, type Envelope } from "./document/envelope.ts";
import { keyIdOf, seedOf, signerFromSeed, spkiDigestOf, type LocalSigner } from "./keys/keys.ts";
import { digestOf, type KeyId, type TreeId } from "../lib/text/ids.ts";

const key = (byte: number): LocalSigner => signerFromSeed(new Uint8Array(32).fill(byte));
const KEYS = {
  recovery: key(1),
  alice: key(2),
  bob: key(3),
  node: key(4),
  join: key(5),
  sealing: key(6),
  hub: key(7),
  tls: key(8),
  nodeNext: key(9),
};
type KeyName = keyof typeof KEYS;

const cluster = "5e".repeat(16);
const at = (minute: number): string => `2026-11-21T02:${String(minute).padStart(2, "0")}:00.000Z`;

interface Vector {
  readonly type: DocumentType;
  /** The exact text that is signed; its base64url is the envelope's `p`. */
  readonly payload: string;
  readonly digest: string;
  readonly signers: readonly KeyName[];
  readonly envelope: Envelope;
}

async function vector<T extends DocumentType>(
  type: T,
  body: DocumentBody<T>,
  ...signers: readonly KeyName[]
): Promise<Vector> {
  const envelope = await seal(
    type,
    body,
    signers.map((name) => KEYS[name]),
  );
  const payload = Buffer.from(envelope.p, "base64url").toString();
  return { type, payload, digest: digestOfEnvelope(envelope), signers, envelope };
}

const charter: Charter = {
  cluster,
  version: 1,
  epoch: 0,
  issued: at(0),
  expires: "2028-11-21T02:00:00.000Z",
  recovery: { keys: [KEYS.recovery.kid], threshold: 1 },
  keys: Object.fromEntries(
    (["recovery", "alice", "bob"] as const).map((name) => [
      KEYS[name].kid,
      { alg: "raw", pub: KEYS[name].pub },
    ]),
  ),
  operators: {
    [KEYS.alice.kid]: { name: "alice", allow: ["admin", "deploy:*/*", "root:*/*", "enrol:*"] },
    [KEYS.bob.kid]: { name: "bob", allow: ["deploy:shop/*"] },
  },
  builders: {},
  quorum: { "shop/prod": 2 },
  hubs: { [spkiDigestOf(KEYS.hub.pub)]: ["hub1.example:7878"] },
  commands: false,
  limits: {},
};

const node = KEYS.node.kid;
const roster: Roster = { nodes: [{ node, name: "web1", labels: { role: "web", zone: "a" } }] };
const releaseParts = { app: "shop", tree: "ab".repeat(32) as TreeId, commit: "1".repeat(40) };
const release = releaseIdOf(releaseParts);
const serial = { app: "shop", env: "prod", epoch: 0, seq: 1 };

const order: Order = {
  cluster,
  epoch: 0,
  seq: 1,
  prev: null,
  app: "shop",
  env: "prod",
  release,
  state: "run",
  generation: 0,
  beside: [],
  fallback: null,
  selector: "role=web",
  roster: rosterDigest(roster),
  strategy: ROLLING,
  hooks: "run",
  issued: at(5),
  applyBefore: at(35),
  undoBefore: at(55),
};

async function documents(): Promise<Vector[]> {
  const first = await vector("charter.1", charter, "recovery");
  return [
    first,
    ...(await deployment()),
    ...(await aboutNodes(first)),
    ...(await passing()),
    ...(await later()),
  ];
}

async function deployment(): Promise<Vector[]> {
  const ordered = await vector("order.1", order, "alice", "bob");
  const digest = digestOfEnvelope(ordered.envelope);
  return [
    await vector(
      "release.1",
      {
        cluster,
        ...releaseParts,
        rows: digestOf("rows"),
        since: null,
        source: { kind: "git", name: "shop" },
        builder: KEYS.alice.kid,
        created: at(4),
        files: 3,
        bytes: 1234,
      },
      "alice",
    ),
    ordered,
    await vector(
      "settle.1",
      { cluster, order: digest, ...serial, needs: 1, before: at(35), issued: at(5) },
      "alice",
      "bob",
    ),
    await vector(
      "receipt.1",
      {
        cluster,
        node,
        key: KEYS.node.pub,
        ...serial,
        order: digest,
        release,
        verdict: "ok",
        code: null,
        message: null,
        cut: 0,
        at: at(7),
      },
      "node",
    ),
  ];
}

async function aboutNodes(first: Vector): Promise<Vector[]> {
  const ticket = await vector(
    "ticket.1",
    {
      cluster,
      charter: digestOfEnvelope(first.envelope),
      key: KEYS.join.pub,
      name: "web1",
      labels: { role: "web", zone: "a" },
      issued: at(1),
      expires: at(59),
      replace: null,
      floor: {},
    },
    "alice",
  );
  return [
    ticket,
    await vector(
      "enrol.1",
      {
        cluster,
        ticket: digestOfEnvelope(ticket.envelope),
        key: KEYS.node.pub,
        sealing: KEYS.sealing.pub,
        name: "web1",
        issued: at(2),
      },
      "join",
      "node",
    ),
    await vector(
      "label.1",
      { cluster, node, serial: 1, name: "web1", labels: { role: "web", zone: "b" }, issued: at(8) },
      "alice",
    ),
    await vector("revoke.1", { cluster, node, reason: "sold", issued: at(9) }, "alice"),
  ];
}

async function passing(): Promise<Vector[]> {
  return [
    await vector(
      "session.1",
      {
        cluster,
        operator: KEYS.alice.kid,
        key: spkiDigestOf(KEYS.tls.pub),
        issued: at(3),
        expires: "2026-11-21T14:03:00.000Z",
      },
      "alice",
    ),
    await vector(
      "beacon.1",
      { cluster, hub: spkiDigestOf(KEYS.hub.pub), incarnation: "one", at: at(6) },
      "hub",
    ),
    await vector(
      "command.1",
      {
        cluster,
        kind: "logs",
        app: "shop",
        env: "prod",
        args: { lines: 100, follow: false },
        nodes: [node],
        nonce: "0f".repeat(16),
        issued: at(6),
        expires: at(11),
      },
      "alice",
    ),
  ];
}

async function later(): Promise<Vector[]> {
  return [
    await vector(
      "noderot.1",
      { cluster, node, key: KEYS.nodeNext.pub, sealing: KEYS.sealing.pub, serial: 1, issued: at(10) },
      "node",
      "nodeNext",
    ),
    await vector(
      "creds.1",
      {
        cluster,
        ...serial,
        ciphertext: digestOf("ciphertext"),
        bytes: 256,
        commitment: digestOf("commitment"),
        ephemeral: KEYS.sealing.pub,
        context: "shop/prod",
        nodes: [node],
        issued: at(10),
      },
      "alice",
      "bob",
    ),
    await vector(
      "endpoint.1",
      {
        cluster,
        node,
        key: KEYS.node.pub,
        incarnation: 1,
        addresses: ["10.0.0.7:7879", "[2001:db8::7]:7879"],
        at: at(10),
      },
      "node",
    ),
  ];
}

/** Envelopes that must be refused; `code` is what this implementation says. */
async function refusals(good: readonly Vector[]): Promise<unknown[]> {
  const source = good.find(({ type }) => type === "revoke.1");
  if (source === undefined) throw new Error("there is a revocation among the vectors");
  const { envelope, payload } = source;
  const resigned = async (text: string): Promise<Envelope> =>
    addSignature({ t: "revoke.1", p: Buffer.from(text).toString("base64url"), s: [] }, KEYS.alice);
  const edited = Buffer.from(payload.replace("sold", "lost")).toString("base64url");
  const bad = async (why: string, code: string, one: unknown): Promise<unknown> => ({
    why,
    code,
    type: "revoke.1",
    signer: "alice",
    envelope: one,
  });
  return [
    await bad("the payload was changed", "DOC_UNSIGNED", { ...envelope, p: edited }),
    await bad("no signature", "DOC_UNSIGNED", { ...envelope, s: [] }),
    await bad(
      "signed by a key that was not asked for",
      "DOC_UNSIGNED",
      await addSignature({ ...envelope, s: [] }, KEYS.bob),
    ),
    await bad("another type", "DOC_WRONG_TYPE", { ...envelope, t: "label.1" }),
    await bad("padding in base64url", "DOC_MALFORMED", { ...envelope, p: `${envelope.p}=` }),
    await bad("an unknown field of the envelope", "DOC_MALFORMED", { ...envelope, v: 1 }),
    await bad("a duplicate key", "DOC_MALFORMED", await resigned(payload.replace("{", '{"reason":"lost",'))),
    await bad("white space", "DOC_MALFORMED", await resigned(payload.replace(":", ": "))),
    await bad(
      "an escaped letter",
      "DOC_MALFORMED",
      await resigned(payload.replace("sold", String.raw`\u0073old`)),
    ),
    await bad("an unknown field", "DOC_MALFORMED", await resigned(payload.replace("}", ',"more":1}'))),
    await bad("a time without milliseconds", "DOC_MALFORMED", await resigned(payload.replace(".000Z", "Z"))),
    await bad(
      "upper-case hexadecimal",
      "DOC_MALFORMED",
      await resigned(payload.replace(cluster, cluster.toUpperCase())),
    ),
  ];
}

export async function vectors(): Promise<unknown> {
  const good = await documents();
  const pub = KEYS.alice.pub;
  const keys = Object.entries(KEYS).map(([name, signer]) => ({
    name,
    seed: Buffer.from(seedOf(signer)).toString("hex"),
    alg: signer.alg,
    pub: signer.pub,
    kid: signer.kid,
    spki: spkiDigestOf(signer.pub),
  }));
  const kids: Record<string, KeyId> = {};
  for (const alg of ["raw", "sshsig", "sk"] as const) kids[alg] = keyIdOf({ alg, pub });
  return {
    about: "Test vectors of docs/formats; written by src/trust/vectors.fixture.ts",
    keys,
    keyIds: { pub, ...kids },
    release: { ...releaseParts, id: release, withoutCommit: releaseIdOf({ ...releaseParts, commit: null }) },
    roster: { text: rosterText(roster), digest: rosterDigest(roster) },
    documents: good,
    refused: await refusals(good),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.stdout.write(`${JSON.stringify(await vectors(), null, 2)}\n`);
}
