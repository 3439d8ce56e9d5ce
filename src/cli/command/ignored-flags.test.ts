import assert from "node:assert/strict";
import { test } from "node:test";
import { cliProgram } from "../cli-program.ts";
import { everyCommand } from "./every-command.ts";
import { refuseIgnored } from "./ignored-flags.ts";

/** What was typed to reach each verb. */
function verbs(): string[] {
  const leaves = everyCommand(cliProgram(() => undefined)).filter(
    ({ commands, parent }) => commands.length === 0 || parent?.name() === "skein",
  );
  return leaves.map((one) => {
    const above = one.parent?.name() ?? "";
    return above === "skein" ? one.name() : `${above} ${one.name()}`;
  });
}

/** They act whatever else was said. */
const ACT =
  "init, up, hub, hub backup, hub restore, agent, agent run, release export, release presign, sync, ftl sync, " +
  "ftl import, cache put, cache get, cache update, cache repair, cache persist, demo, keeper";
const HERE = "jump, jump-back, ftl jump, ftl jump-back";

const refusing = (wish: Parameters<typeof refuseIgnored>[1]): Set<string> =>
  new Set(
    verbs().filter((verb) => {
      try {
        refuseIgnored(`skein ${verb}`, wish);
        return false;
      } catch {
        return true;
      }
    }),
  );

test("a verb that would act although it was told --dry-run refuses it, and no other does", () => {
  assert.deepEqual(refusing({ dryRun: true }), new Set(`${ACT}, ${HERE}`.split(", ")));
  assert.deepEqual(refusing({ dryRun: true, master: true }), new Set(ACT.split(", ")));
  assert.deepEqual(refusing({}), new Set());
});

test("nobody believes that he stops one node's part of a rollout, acts on one node that he named, or only looks", () => {
  for (const verb of ["abort", "pause", "resume"]) {
    assert.throws(() => refuseIgnored(`skein ${verb}`, { on: "web1" }), { code: "USAGE" });
    refuseIgnored(`skein ${verb}`, {});
  }
  assert.deepEqual(refusing({ on: "web1" }), new Set(`abort, pause, resume, ${HERE}`.split(", ")));
  const all = new Set("abort, pause, resume, purge, ftl purge".split(", "));
  assert.deepEqual(refusing({ on: "web1", master: true }), all);
  refuseIgnored("skein stop", { dryRun: true, on: "web1" });
  assert.throws(() => refuseIgnored("skein sync", { dryRun: true }), /nothing was done: it works on this/);
});
