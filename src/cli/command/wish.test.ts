import assert from "node:assert/strict";
import { test } from "node:test";
import { cliProgram, everyCommand } from "../cli-program.ts";
import { refuseIgnored } from "./wish.ts";

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
  "init, up, hub, hub install, hub backup, hub restore, agent, agent run, agent install, node invite, node rm, " +
  "node label, releases pin, releases unpin, build, rollback, cp, abort, pause, resume, release export, " +
  "release import, release presign, start, stop, restart, spool, sync, jump, jump-back, ftl spool, ftl sync, " +
  "ftl jump, ftl jump-back, ftl import, repair, cache put, cache get, cache update, cache repair, cache persist, " +
  "cache flush, demo, keeper";

test("a verb that would act although it was told --dry-run refuses it, and no other does", () => {
  const refusing = verbs().filter((verb) => {
    try {
      refuseIgnored(`skein ${verb}`, { dryRun: true });
      return false;
    } catch {
      return true;
    }
  });
  const grouping = ["node", "release", "ftl", "cache"]; // they only print their help
  const wanted = [...ACT.split(", "), ...grouping];
  assert.deepEqual(new Set(refusing), new Set(wanted));
});

test("nobody believes that he stops one node's part of a rollout, or only looks", () => {
  for (const verb of ["abort", "pause", "resume"]) {
    assert.throws(() => refuseIgnored(`skein ${verb}`, { on: "web1" }), { code: "USAGE" });
    refuseIgnored(`skein ${verb}`, {});
  }
  refuseIgnored("skein stop", { on: "web1" });
  assert.throws(() => refuseIgnored("skein stop", { dryRun: true, on: "web1" }), /nothing was done/);
});
