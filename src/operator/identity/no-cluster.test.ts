import assert from "node:assert/strict";
import { test } from "node:test";
import { noCluster, type Typist } from "./no-cluster.ts";

const ada: Typist = { uid: 1000, sudoUser: undefined, isRootOperator: false, hasHome: false };

test("who has no cluster is told whose may be meant: root's, or that of whoever typed sudo", () => {
  const hint = (typist: Partial<Typist>): string | undefined =>
    noCluster("/etc/skein/operator", { ...ada, ...typist }).hint;
  assert.match(hint({}) ?? "", /^Make one: skein up/);
  assert.match(hint({ isRootOperator: true }) ?? "", /^Root operates one here: type it with sudo/);
  assert.match(hint({ uid: 0, sudoUser: "ada" }) ?? "", /^Type it without sudo where ada operates one/);
  assert.match(hint({ uid: 0, sudoUser: "root" }) ?? "", /^Make one/);
  assert.match(hint({ isRootOperator: true, hasHome: true }) ?? "", /^Make one/, "a folder was named");
});
