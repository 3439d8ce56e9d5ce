import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { originHere } from "./resolve-wish.ts";

test("a repository without a commit goes as its folder is, and that is said; one with a commit goes as committed", async (t) => {
  const cwd = fs.mkdtempSync(path.join(os.tmpdir(), "skein-asked-"));
  atEnd(t, () => fs.rmSync(cwd, { recursive: true }));
  fs.writeFileSync(path.join(cwd, "skein.yaml"), "app: shop\n");
  const git = (...words: string[]): unknown =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...words], { cwd });
  const said: string[] = [];
  const wish = { app: null, env: "default", cwd, signal: t.signal } as const;
  const kind = async (): Promise<string> => {
    const { kind: found } = await originHere({
      ...wish,
      tell: (event) => void ("text" in event && said.push(event.text)),
    });
    return found;
  };
  assert.deepEqual([await kind(), said.splice(0)], ["path", []]);
  git("init", "-q");
  assert.equal(await kind(), "path");
  assert.match(said.splice(0).join(), /^the repository has no commit yet, so the folder goes as it is/);
  git("add", ".");
  git("commit", "-q", "-m", "one");
  assert.deepEqual([await kind(), said.splice(0)], ["commit", []]);
  fs.writeFileSync(path.join(cwd, "more"), "");
  assert.equal(await kind(), "commit");
  assert.match(said.join(), /^1 uncommitted change is not deployed \(HEAD is\)/);
});
