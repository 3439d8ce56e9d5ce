import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { KeyId } from "../../lib/text/ids.ts";
import { CLUSTER, orderBody } from "../cluster.fixture.ts";
import { DOCUMENT_SCHEMAS, DOCUMENT_TYPES } from "./documents.ts";
import { parseEnvelope, readUnverified, seal } from "./envelope.ts";
import { isBase64Url, labels, nodeName, text, time } from "./fields.ts";
import { generateSigner } from "../keys/keys.ts";

test("every type that docs/formats names has a schema, and each is of version 1", () => {
  const named =
    "charter release order settle label ticket enrol noderot session revoke receipt beacon creds command endpoint";
  assert.deepEqual(
    DOCUMENT_TYPES,
    named.split(" ").map((name) => `${name}.1`),
  );
});

test("no document is an empty object, and none takes a field that it does not have", () => {
  for (const type of DOCUMENT_TYPES) {
    assert.equal(DOCUMENT_SCHEMAS[type].safeParse({}).success, false, type);
    const issues = DOCUMENT_SCHEMAS[type].safeParse({ surprise: 1 }).error?.issues ?? [];
    assert.ok(
      issues.some(({ code }) => code === "unrecognized_keys"),
      type,
    );
  }
});

test("an order's fields have bounds and one spelling", () => {
  const bad: Record<string, unknown> = {
    seq: 0,
    epoch: -1,
    generation: 1.5,
    app: "Shop",
    env: "",
    release: "0".repeat(64),
    state: "paused",
    selector: "role=",
    hooks: "maybe",
    beside: ["x"],
    issued: "2026-11-21T02:00:00Z",
    applyBefore: "2026-02-30T00:00:00.000Z",
    prev: "A".repeat(64),
    strategy: { ...orderBody(1).strategy, batch: "250%" },
  };
  assert.equal(DOCUMENT_SCHEMAS["order.1"].safeParse(orderBody(1)).success, true);
  for (const [field, value] of Object.entries(bad)) {
    assert.equal(
      DOCUMENT_SCHEMAS["order.1"].safeParse({ ...orderBody(1), [field]: value }).success,
      false,
      field,
    );
  }
  assert.equal(
    DOCUMENT_SCHEMAS["order.1"].safeParse({ ...orderBody(1), seq: 2 ** 53 }).success,
    false,
    "digits would be lost",
  );
});

test("names, labels and times are what selectors and people can write", () => {
  const accepts = (schema: { safeParse(value: unknown): { success: boolean } }, value: unknown): boolean =>
    schema.safeParse(value).success;
  for (const name of ["web1", "web-1.fra", "3"]) assert.equal(accepts(nodeName, name), true, name);
  for (const name of ["all", "-web", "web.", "Web", "", "a b", "ä"])
    assert.equal(accepts(nodeName, name), false, name);
  for (const good of [{}, { role: "web" }, { "a.b-c_d": "1.2:3" }]) assert.equal(accepts(labels, good), true);
  for (const bad of [
    { name: "x" },
    { all: "true" },
    { Role: "web" },
    { role: "" },
    { role: "a b" },
    { role: 1 },
  ]) {
    assert.equal(accepts(labels, bad), false, JSON.stringify(bad));
  }
  assert.equal(
    accepts(labels, Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`l${i}`, "x"]))),
    false,
  );
  assert.equal(accepts(time, "2026-11-21T02:00:00.000+00:00"), false);
  assert.equal(accepts(text(4), "tab\t"), false);
  assert.equal(accepts(text(4), "\u202eevil"), false);
});

test("base64url has one spelling for the same bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const text = Buffer.from(bytes).toString("base64url");
      assert.equal(isBase64Url(text), true);
      assert.equal(isBase64Url(`${text}=`), false);
    }),
  );
  for (const twin of ["AB", "A", "AAA+", "AA AA"]) assert.equal(isBase64Url(twin), false, twin);
});

test("a ticket's floor and a command's arguments are bounded", () => {
  const point = { epoch: 0, seq: 1 };
  const floor = Object.fromEntries(Array.from({ length: 4097 }, (_, i) => [`app${i}/prod`, point]));
  const ticket = {
    cluster: CLUSTER,
    charter: "a".repeat(64),
    key: generateSigner().pub,
    name: null,
    labels: {},
    issued: "2026-11-21T02:00:00.000Z",
    expires: "2026-11-21T03:00:00.000Z",
    replace: null,
    floor: { "shop/prod": point },
  };
  assert.equal(DOCUMENT_SCHEMAS["ticket.1"].safeParse(ticket).success, true);
  assert.equal(DOCUMENT_SCHEMAS["ticket.1"].safeParse({ ...ticket, floor }).success, false);
});

test("whatever bytes stand in an envelope, reading it ends in a document or a coded refusal", () => {
  const codes = new Set(["DOC_MALFORMED", "DOC_TOO_BIG", "DOC_WRONG_TYPE"]);
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string(), fc.jsonValue()), (payload) => {
      const p = typeof payload === "string" ? Buffer.from(payload).toString("base64url") : payload;
      assert.throws(
        () => readUnverified({ t: "order.1", p, s: [] }, "order.1"),
        (err: unknown) => err instanceof Error && "code" in err && codes.has(String(err.code)),
      );
    }),
  );
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.throws(() => parseEnvelope(value), { code: "DOC_MALFORMED" });
    }),
  );
});

test("what is sealed keeps the order of its fields: the bytes are the writer's", async () => {
  const body = {
    issued: "2026-11-21T02:00:00.000Z",
    reason: "",
    node: "a".repeat(32) as KeyId,
    cluster: CLUSTER,
  };
  const envelope = await seal("revoke.1", body, [generateSigner()]);
  assert.equal(Buffer.from(envelope.p, "base64url").toString(), JSON.stringify(body));
});
