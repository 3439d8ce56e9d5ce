/** A manifest asks for root, and a signer of the very order must have the right to give it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { freePort } from "../lib/testing/free-port.fixture.ts";
import type { Charter } from "../trust/document/documents.ts";
import { seal, type Envelope } from "../trust/document/envelope.ts";
import { timeOf } from "../trust/document/fields.ts";
import { answer, world, type Ordered } from "./agent.fixture.ts";

const NOT_ROOT = process.getuid?.() !== 0 && "only root can run an app as root";

const tree = (port: number, user: string, version: string): Record<string, string> => ({
  "skein.yaml": `app: shop
user: ${user}
processes: { web: { run: node web.js, listen: ${port}, drain: { window: 50ms, within: 20s } } }
`,
  "web.js": `require("node:http").createServer((q, r) => r.end("${version} of " + (process.getuid() === 0 ? "root" : "its own")))
    .listen(process.env.PORT, process.env.HOST);`,
});

test(
  "a release runs as root by the right of who ordered it, and not of who ordered the one before (long)",
  { skip: NOT_ROOT },
  async (t) => {
    const w = await world(t);
    const { alice, bob, charter, envelope } = w.cluster;
    const limited: Charter = {
      ...charter,
      version: 2,
      issued: timeOf(Date.now()),
      operators: { ...charter.operators, [bob.kid]: { name: "bob", allow: ["deploy:*/*"] } },
    };
    w.offer({ charters: [envelope, await seal("charter.1", limited, [alice])] });
    await w.agent();
    const port = await freePort();
    const one = await w.deploy(tree(port, "root", "one"), { settle: true });
    assert.equal((await w.receipt(one.digest)).verdict, "ok");
    assert.equal(await answer(port), "one of root");

    /** The same order, signed by bob alone: what was signed, and so its digest, is the same. */
    const byBob = async (release: Envelope): Promise<Ordered> => {
      const made = await w.order(release);
      const order = await seal("order.1", made.order, [bob]);
      w.offer({
        orders: [order],
        releases: [...w.offered.releases, release],
        gates: { [made.digest]: "go" },
      });
      return made;
    };
    const two = await byBob(await w.publish(tree(port, "root", "two")));
    const refused = await w.receipt(two.digest);
    assert.deepEqual([refused.verdict, refused.code], ["failed", "NOT_AUTHORISED"]);
    assert.equal(await answer(port), "one of root");

    const three = await byBob(await w.publish(tree(port, "auto", "three")));
    assert.equal((await w.receipt(three.digest)).verdict, "ok");
    assert.equal(await answer(port), "three of its own");
  },
);

test(
  "whoever a release runs as has the app's data, and whoever it goes back to has it again (long)",
  { skip: NOT_ROOT },
  async (t) => {
    const w = await world(t);
    await w.agent();
    const port = await freePort();
    const counting = (user: string, more = ""): Record<string, string> => ({
      "skein.yaml": `app: shop
user: ${user}
writable: [tmp]
hooks: { post_sync: "date >> $SKEIN_DATA/synced"${more} }
processes: { web: { run: node web.js, listen: ${port}, drain: { window: 50ms, within: 20s } } }
`,
      "web.js": `const fs = require("node:fs");
    const count = (file) => { fs.appendFileSync(file, "x"); return fs.readFileSync(file, "utf8").length; };
    require("node:http").createServer((q, r) => r.end(process.getuid() + " " + count(process.env.SKEIN_DATA + "/n") + count("tmp/n")))
    .listen(process.env.PORT, process.env.HOST);`,
    });
    const ended = async (files: Record<string, string>): Promise<string> =>
      (await w.receipt((await w.deploy(files, { settle: true })).digest)).verdict;
    const nobody = execFileSync("id", ["-u", "nobody"], { encoding: "utf8" }).trim();
    const secret = path.join(w.home, "lib/apps/shop/data/secret");

    assert.equal(await ended(counting("nobody")), "ok");
    assert.equal(await answer(port), `${nobody} 11`);
    fs.writeFileSync(secret, "of root", { mode: 0o600 });
    assert.equal(await ended(counting("auto")), "ok");
    assert.match(await answer(port), /^7\d{4} 22$/);
    assert.equal(fs.statSync(secret).uid, 0, "what somebody else laid there stays theirs");
    assert.equal(await ended(counting("nobody", ", pre_jump: exit 1")), "failed");
    assert.match(await answer(port), /^7\d{4} 33$/);
  },
);
