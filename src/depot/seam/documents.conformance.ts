import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { isSkeinError } from "../../lib/errors/errors.ts";
import { MAX_DOCUMENT_BYTES, type DocumentStore } from "./documents.ts";

/**
 * What every store of documents keeps to, whatever it is made of. `open` gives an empty one that ends with the test;
 * opened again with the same context it is another client of the same documents. `blinks`: while one is replaced, the
 * store's server may say for a moment that there is none, as Swift seems to.
 */
export function documentsConformance(
  kind: string,
  open: (t: TestContext) => Promise<DocumentStore>,
  blinks = false,
): void {
  test(`${kind}: gives back what was written, and "same" to who has it`, async (t) => {
    const store = await open(t);
    const etag = await store.write("heads/web", Buffer.from("one"), {}, t.signal);
    const read = await store.read("heads/web", undefined, t.signal);
    assert.ok(read !== undefined && read !== "same");
    assert.equal(Buffer.from(read.bytes).toString(), "one");
    assert.equal(read.etag, etag);
    assert.equal(await store.read("heads/web", etag, t.signal), "same");
    const newer = await store.write("heads/web", Buffer.from("two"), {}, t.signal);
    assert.notEqual(newer, etag);
    assert.equal(await textOf(t, store, "heads/web", etag), "two");
  });

  test(`${kind}: a document that is not there is undefined, and can be empty`, async (t) => {
    const store = await open(t);
    assert.equal(await store.read("none", undefined, t.signal), undefined);
    assert.equal(await store.read("none", "some etag", t.signal), undefined);
    await store.write("empty", Buffer.alloc(0), {}, t.signal);
    assert.equal(await textOf(t, store, "empty"), "");
    assert.equal(await store.read("empty/below", undefined, t.signal), undefined);
  });

  test(`${kind}: takes names as people give them`, async (t) => {
    const store = await open(t);
    const names = ["Web.20261128.tar.gz", "a b+c", "ä/ö.rev", "x@y=z,~!'()*$&;:", "per%20cent"];
    for (const name of names) {
      await store.write(name, Buffer.from(name), {}, t.signal);
      assert.equal(await textOf(t, store, name), name);
    }
    assert.deepEqual(await namesOf(t, store, ""), [...names].sort());
  });

  test(`${kind}: names that are none are refused`, async (t) => {
    const store = await open(t);
    const long = "a".repeat(201);
    for (const name of [
      "",
      "/a",
      "a/",
      "a//b",
      "../a",
      "a/../b",
      "./a",
      ".a",
      "a\\b",
      "a\nb",
      "\ud800",
      long,
    ]) {
      const refused = { code: "BAD_REQUEST" };
      await assert.rejects(store.write(name, Buffer.from("x"), {}, t.signal), refused, JSON.stringify(name));
      await assert.rejects(store.read(name, undefined, t.signal), refused, JSON.stringify(name));
      await assert.rejects(store.delete(name, t.signal), refused, JSON.stringify(name));
    }
  });

  test(`${kind}: lists what is under a prefix, sorted, with size and time`, async (t) => {
    const store = await open(t);
    const began = Date.now();
    for (const name of ["heads/web", "heads/api", "heads/deep/er", "heads-not", "orders/1"]) {
      await store.write(name, Buffer.from(name), {}, t.signal);
    }
    assert.deepEqual(await namesOf(t, store, "heads/"), ["heads/api", "heads/deep/er", "heads/web"]);
    assert.deepEqual(await namesOf(t, store, "heads/w"), ["heads/web"]);
    assert.deepEqual(await namesOf(t, store, "none/"), []);
    assert.equal((await namesOf(t, store, "")).length, 5);
    for await (const entry of store.list("orders/", t.signal)) {
      assert.equal(entry.sizeBytes, "orders/1".length);
      assert.ok(Math.abs(entry.modifiedMs - began) < 60_000, `${entry.modifiedMs} is not near ${began}`);
      if (entry.etag !== undefined) assert.equal(await store.read(entry.name, entry.etag, t.signal), "same");
    }
  });

  test(`${kind}: deletes, and deleting again is no fault`, async (t) => {
    const store = await open(t);
    const etag = await store.write("a", Buffer.from("one"), {}, t.signal);
    await store.delete("a", t.signal);
    await store.delete("a", t.signal);
    assert.equal(await store.read("a", undefined, t.signal), undefined);
    assert.equal(await store.read("a", etag, t.signal), undefined);
  });

  test(`${kind}: a condition that does not hold is a CONFLICT and changes nothing, where conditions are kept`, async (t) => {
    const store = await open(t);
    const one = await store.write("a", Buffer.from("one"), { if: null }, t.signal);
    if (!store.conditional) {
      await store.write("a", Buffer.from("two"), { if: null }, t.signal);
      assert.equal(await textOf(t, store, "a"), "two");
      return;
    }
    const conflict = { code: "CONFLICT", data: { document: "a" } };
    await assert.rejects(store.write("a", Buffer.from("two"), { if: null }, t.signal), conflict);
    assert.equal(await textOf(t, store, "a"), "one");
    await store.write("a", Buffer.from("two"), { if: one }, t.signal);
    await assert.rejects(store.write("a", Buffer.from("three"), { if: one }, t.signal), conflict);
    assert.equal(await textOf(t, store, "a"), "two");
    const gone = { code: "CONFLICT", data: { document: "b" } };
    await assert.rejects(store.write("b", Buffer.from("x"), { if: one }, t.signal), gone);
    assert.equal(await store.read("b", undefined, t.signal), undefined);
    await store.delete("a", t.signal);
    await store.write("a", Buffer.from("again"), { if: null }, t.signal);
  });

  test(`${kind}: of many who add one at once, none is lost where conditions are kept`, async (t) => {
    const store = await open(t);
    if (!store.conditional) return;
    const writers = 4;
    const rounds = 5;
    const add = async (): Promise<void> => {
      for (let done = 0; done < rounds;) {
        const read = await store.read("count", undefined, t.signal);
        const there = read === undefined || read === "same" ? undefined : read;
        const count = there === undefined ? 0 : Number(Buffer.from(there.bytes).toString());
        try {
          const next = Buffer.from(String(count + 1));
          await store.write("count", next, { if: there?.etag ?? null }, t.signal);
          done += 1;
        } catch (err) {
          if (!isSkeinError(err, "CONFLICT")) throw err;
        }
      }
    };
    await Promise.all(Array.from({ length: writers }, add));
    assert.equal(await textOf(t, store, "count"), String(writers * rounds));
  });

  test(`${kind}: nobody reads half of what is written over`, async (t) => {
    const store = await open(t);
    const texts = ["a", "b"].map((letter) => letter.repeat(200_000));
    await store.write("a", Buffer.from(texts[0]!), {}, t.signal);
    const state = { writing: true };
    const writes = (async () => {
      for (let n = 1; n <= 8; n++) await store.write("a", Buffer.from(texts[n % 2]!), {}, t.signal);
      state.writing = false;
    })();
    do {
      const read = await store.read("a", undefined, t.signal);
      if (read === undefined && blinks) continue;
      assert.ok(read !== undefined && read !== "same" && texts.includes(Buffer.from(read.bytes).toString()));
    } while (state.writing);
    await writes;
    assert.ok(texts.includes(await textOf(t, store, "a")));
  });

  test(`${kind}: a document over the bound is refused`, async (t) => {
    const store = await open(t);
    const big = Buffer.alloc(MAX_DOCUMENT_BYTES + 1);
    await assert.rejects(store.write("big", big, {}, t.signal), { code: "DOC_TOO_BIG" });
    assert.equal(await store.read("big", undefined, t.signal), undefined);
  });

  test(`${kind}: a signal ends what is under way`, async (t) => {
    const store = await open(t);
    const aborted = AbortSignal.abort(new Error("enough"));
    await assert.rejects(store.write("a", Buffer.from("x"), {}, aborted), /enough/);
    await assert.rejects(store.read("a", undefined, aborted), /enough/);
    assert.equal(await store.read("a", undefined, t.signal), undefined);
  });
}

async function textOf(t: TestContext, store: DocumentStore, name: string, etag?: string): Promise<string> {
  const read = await store.read(name, etag, t.signal);
  assert.ok(read !== undefined && read !== "same", `${name} was not read`);
  return Buffer.from(read.bytes).toString();
}

async function namesOf(t: TestContext, store: DocumentStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of store.list(prefix, t.signal)) found.push(name);
  return found;
}
