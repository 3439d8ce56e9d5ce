import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { eventually } from "../../lib/testing/eventually.fixture.ts";
import { world } from "../agent.fixture.ts";
import { ask, type Line } from "../programs/command.fixture.ts";

/** A hook that says that it runs, and hangs; `once`: not before its second time. */
const hangs = (once = ""): string => `${once}echo $$ > $SKEIN_DATA/pid; exec sleep 50`;
const SECOND_TIME = "[ -e $SKEIN_DATA/ran ] || { touch $SKEIN_DATA/ran; exit; }; ";

/** Where each of them hangs, what the node comes to say of its order. */
const CASES = [
  { hook: "pre-jump", old: {}, next: { "pre-jump.sh": hangs() }, says: ["undone", "UNDONE_BY_HUB"] },
  { hook: "un-jump", old: { "un-jump.sh": hangs() }, next: {}, says: ["undone", "UNDONE_BY_HUB"] },
  {
    hook: "back-post-jump",
    old: { "post-jump.sh": hangs(SECOND_TIME) },
    next: { "post-jump.sh": "exit 1" },
    says: ["failed", "HOOK_FAILED"],
  },
] as const;

for (const { hook, old, next, says } of CASES) {
  test(`a ${hook} that hangs while its order is taken back is ended by an operator's word (long)`, async (t) => {
    const w = await world(t);
    await w.agent();
    const files = (version: string) => ({ "skein.yaml": "app: shop\nkind: files\n", version });
    const one = await w.deploy({ ...files("one"), ...old });
    await w.receipt(one.digest, "ok");
    const two = await w.deploy({ ...files("two"), ...next }, { fallback: one.release });
    const pid = path.join(w.paths.lib, "apps/shop/data/pid");
    const hung = await eventually("its process", () => {
      return (fs.existsSync(pid) && Number(fs.readFileSync(pid, "utf8"))) || undefined;
    });
    const end = async (order: string): Promise<Line[]> => await ask(w, "end-hook", { order });
    assert.deepEqual(await end(one.digest), [{ type: "result", ok: true }], "it is none of that order");
    if (hook !== "back-post-jump") {
      assert.deepEqual(await end(two.digest), [{ type: "result", ok: true }], "nobody takes it back");
      w.offer({ gates: { [two.digest]: "undo" } });
    }
    assert.ok(isThere(hung));
    assert.deepEqual(await end(two.digest), [
      { type: "ended", hook },
      { type: "result", ok: true },
    ]);
    const { verdict, code } = await w.receipt(two.digest);
    assert.deepEqual([verdict, code], says);
    assert.equal(w.current(), one.release);
    await eventually("its end", () => !isThere(hung) || undefined);
  });
}

const isThere = (pid: number): boolean => fs.existsSync(`/proc/${pid}`);
