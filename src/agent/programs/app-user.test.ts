import assert from "node:assert/strict";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { appUser } from "./app-user.ts";
import { appUsers } from "./users.ts";

test("an app runs as a user of its own, or as one that is known and that it may be", async (t) => {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), "skein-user-"));
  t.after(async () => fs.rm(dir, { recursive: true, force: true }));
  const users = appUsers(dir, true);
  assert.deepEqual(await appUser("auto", "shop", users, false), { uid: 70_000, gid: 70_000 });
  assert.equal((await appUser("daemon", "shop", users, false))?.uid, 1);
  assert.deepEqual(await appUser("root", "shop", users, true), { uid: 0, gid: 0 });
  await assert.rejects(appUser("root", "shop", users, false), { code: "NOT_AUTHORISED" });
  await assert.rejects(appUser("nobody-at-all", "shop", users, true), {
    code: "USER_REFUSED",
    message: /does not know/,
  });
});

test("as people, who may become root, an app runs only where its order's signer may grant that", async (t) => {
  const accounts = [
    "toor:x:0:0::/root:/usr/sbin/nologin",
    "wheel:x:11:0::/root:/sbin/nologin",
    "alice:x:1000:1000::/home/alice:/bin/bash",
    "bob:x:1001:1001::/home/bob:",
    "web:x:33:33::/var/www:/usr/sbin/nologin",
  ];
  t.mock.method(fs, "readFile", async () => accounts.join("\n"));
  const users = { of: async () => ({ uid: 70_000, gid: 70_000 }) };
  for (const user of ["toor", "wheel", "alice", "bob"]) {
    await assert.rejects(appUser(user, "shop", users, false), { code: "NOT_AUTHORISED" }, user);
    assert.ok(await appUser(user, "shop", users, true));
  }
  assert.deepEqual(await appUser("web", "shop", users, false), { uid: 33, gid: 33 });
});

test("where the agent is not root everything runs as its user, and nothing as another", async () => {
  const users = appUsers("/nonexistent", false);
  assert.equal(await appUser("auto", "shop", users, false), undefined);
  for (const user of ["daemon", "root"])
    await assert.rejects(appUser(user, "shop", users, true), {
      code: "USER_REFUSED",
      message: /this agent is not root/,
    });
});
