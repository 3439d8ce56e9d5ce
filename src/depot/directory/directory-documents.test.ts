import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { directoryDocuments } from "./directory-documents.ts";
import { documentsConformance } from "../seam/documents.conformance.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

function tempDir(t: TestContext): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-documents-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function addInProcess(dir: string, times: number, fault = ""): Promise<string | number | null> {
  const script = childProgram(import.meta.dirname, "write-document.child.ts");
  const env = { ...process.env, SKEIN_FAULT: fault };
  const child = spawn(process.execPath, [script, dir, String(times)], { env, stdio: "inherit" });
  const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
  return signal ?? code;
}

documentsConformance("directory", async (t) => directoryDocuments(tempDir(t)));

test("processes that write one document at once lose nothing", async (t) => {
  const dir = tempDir(t);
  assert.deepEqual(await Promise.all([1, 2, 3].map(async () => await addInProcess(dir, 20))), [0, 0, 0]);
  assert.equal(fs.readFileSync(path.join(dir, "count"), "utf8"), "60");
});

for (const point of ["documents.compared", "documents.written"]) {
  test(`a writer killed at ${point} holds nobody up and leaves the old document or the new one`, async (t) => {
    const dir = tempDir(t);
    assert.equal(await addInProcess(dir, 1), 0);
    assert.equal(await addInProcess(dir, 1, point), "SIGKILL");
    const after = point === "documents.written" ? "2" : "1";
    assert.equal(fs.readFileSync(path.join(dir, "count"), "utf8"), after);
    assert.equal(await addInProcess(dir, 1), 0);
    assert.equal(fs.readFileSync(path.join(dir, "count"), "utf8"), String(Number(after) + 1));
    assert.deepEqual(fs.readdirSync(dir).sort(), [".lock", "count"]);
  });
}

test("a link laid in the folder is not followed", async (t) => {
  const dir = tempDir(t);
  fs.symlinkSync("/etc/passwd", path.join(dir, "a"));
  assert.equal(await directoryDocuments(dir).read("a", undefined, t.signal), undefined);
});
