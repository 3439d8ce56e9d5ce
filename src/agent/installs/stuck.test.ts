/** What nobody can remove (an immutable file, say) is told once by an agent, and holds up no order and no gc. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { listInstalls } from "../../release/record/install-record.ts";
import { stick, sticking, unstick } from "../../release/install/stuck.fixture.ts";
import { world } from "../agent.fixture.ts";
import { ask } from "../programs/command.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

const told = (lines: readonly string[]): unknown[] =>
  lines.map((line) => JSON.parse(line) as Record<string, string>).filter(({ level }) => level === "warn");

for (const [what, at] of [
  ["file", "lib/kept.txt"],
  ["release as a whole", ""],
] as const) {
  test(
    `an immutable ${what} is told once, by however many gcs and agents, and keeps no other release`,
    sticking,
    async (t) => {
      const w = await world(t);
      const lines: string[] = [];
      const onLog = (line: string): void => void lines.push(line);
      const stop = await w.agent({ onLog });
      const revs = path.join(w.paths.lib, "apps/shop/revs");
      const deployed = async (version: string): Promise<ReleaseId> => {
        const manifest = "app: shop\nkind: files\nkeep: { releases: 1, good: 1 }\n";
        const tree = {
          "skein.yaml": manifest,
          "lib/kept.txt": "kept",
          "version.txt": version,
          "pre-remove.sh": `echo ${version} leaves`,
        };
        const { digest, release } = await w.deploy(tree);
        await w.receipt(digest, "ok");
        return release;
      };
      const settled = async (wanted: readonly ReleaseId[]): Promise<void> => {
        await eventually(`${wanted.length} releases`, async () => {
          assert.deepEqual((await listInstalls(revs)).toSorted(), wanted.toSorted());
          return true;
        });
      };
      const one = await deployed("1");
      const stuck = path.join(revs, one, at);
      stick(t, "i", stuck, revs);
      const stays = at === "" ? [one] : [];
      const two = await deployed("2");
      const three = await deployed("3");
      await settled([...stays, two, three]);
      const four = await deployed("4");
      await settled([...stays, three, four]);
      await ask(w, "gc", {});
      await stop();
      await w.agent({ onLog });
      const five = await deployed("5");
      await settled([...stays, four, five]);
      const [warning, ...others] = told(lines) as Record<string, string>[];
      assert.deepEqual(others, []);
      assert.match(warning?.["err.message"] ?? "", new RegExp(`${at} cannot be removed: EPERM$`));
      assert.equal(warning?.["release"], one);
      assert.equal(w.hooksLog().includes("1 leaves"), at !== "", "nothing is begun that cannot be done");
      const left = at === "" ? stuck : path.join(revs, ".install", `${one}.aside-1`, at);
      unstick(left);
      await ask(w, "gc", {});
      // The agent's own gc may be at it as well, and the later one of the two finds nothing to do.
      await eventually("nothing of it is left", () => {
        const names = fs.readdirSync(path.join(revs, ".install"));
        return !names.some((name) => name.startsWith(one)) && !fs.existsSync(path.join(revs, one));
      });
    },
  );
}
