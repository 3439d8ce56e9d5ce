import assert from "node:assert/strict";
import test from "node:test";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId } from "../../lib/text/ids.ts";
import { ROLLING } from "../../trust/strategy.fixture.ts";
import type { KnownNode } from "../nodes/nodes.ts";
import { refuseOtherEnvs } from "./other-env.ts";

const RELEASE = "0".repeat(32) as ReleaseId;

/** @param env of `shop`, which runs there unless `more` says otherwise */
function node(name: string, env: string, more: { release?: null; present?: false } = {}): KnownNode {
  const { present = true, release = RELEASE } = more;
  const apps = [{ app: "shop", env, release, state: "running", head: null }];
  return { identity: { name }, present, duplicate: false, apps } as unknown as KnownNode;
}

function said(selector: string, nodes: readonly KnownNode[], maxFailed = 0): string {
  try {
    refuseOtherEnvs({ app: "shop", env: "default", selector, nodes, strategy: { ...ROLLING, maxFailed } });
    return "";
  } catch (err) {
    assert.ok(isSkeinError(err, "ENV_CONFLICT"));
    return `${err.message}. ${err.hint}`;
  }
}

test("who holds another environment is named, and how the others are", () => {
  const [a, b, c, d] = [node("a", "default"), node("b", "prod"), node("c", "prod"), node("d", "uat")];
  assert.equal(said("all", [a]), "");
  assert.equal(
    said("all", [a, b, c, d]),
    "b, c hold shop in prod; d holds shop in uat, and this is for default: nothing was ordered. " +
      "Which is meant? For prod: --env prod. For default on the others: --on 'name!=b & name!=c & name!=d'.",
  );
  assert.match(said("role=web & zone=a", [a, b]), /--on 'role=web & zone=a & name!=b'/);
  assert.match(said("name=a | name=b", [a, b]), /--on '\(name=a \| name=b\) & name!=b'/);
  assert.match(said("name=b", [b]), /For prod: --env prod\.$/, "there are no others");
});

test("whoever would not make it fail for all is nobody's trouble", () => {
  const a = node("a", "default");
  assert.equal(said("all", [a, node("b", "prod")], 1), "", "one node may fail");
  assert.equal(said("all", [a, node("b", "prod", { release: null })]), "", "it is stopped there");
  assert.equal(said("all", [a, node("b", "prod", { present: false })]), "", "it is away");
});
