import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { writeTree } from "../../release/release.fixture.ts";
import { cluster } from "../cluster.fixture.ts";
import { deploy } from "./deploy.ts";
import { planDeploy } from "./plan.ts";

test("a process that none of the nodes runs is told, unless some nodes were named", async (t) => {
  const { dir, operator, events, options, absent } = await cluster(t);
  await absent("n1", { role: "web" });
  await absent("n2", { role: "db" });
  const from = writeTree(path.join(dir, "app"), {
    "skein.yaml":
      "app: shop\nprocesses: { a: { run: a, on: role=web }, b: { run: b, on: role=wbe }, c: c }\n",
  });
  const told = (): string[] =>
    events
      .splice(0)
      .flatMap((event) => (event.type === "warning" && / on \(/.test(event.text) ? [event.text] : []));
  const nowhere = "b runs nowhere: none of the nodes is what it says under on (role=wbe).";
  await planDeploy(operator, options({ from }));
  assert.deepEqual(told(), [nowhere]);
  await deploy(operator, options({ from }));
  assert.deepEqual(told(), [nowhere]);
  await planDeploy(operator, options({ from, selector: "n2" }));
  assert.deepEqual(told(), []);
});
