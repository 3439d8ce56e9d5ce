/** Over a far line each request costs a round trip: how many a command takes is counted here. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import { HubCaller } from "../../api/hub-caller.ts";
import { httpDepot } from "../../depot/http/http-depot.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { writeTree } from "../../release/release.fixture.ts";
import { cluster, type Cluster } from "../cluster.fixture.ts";
import { openOperator } from "../identity/operator.ts";
import { followOrder } from "../order/publish-order.ts";
import { beginningOf } from "./ask-ahead.ts";
import { deploy, type DeployOptions } from "./deploy.ts";

const BEGIN = "POST /v1/together";
const END = ["POST /v1/orders", "GET /v1/rollouts/DIGEST/views"];

interface World extends Cluster {
  readonly repo: string;
  readonly commit: (text: string) => string;
  /** A whole deployment, as the command has it. @returns what was asked of the hub */
  readonly deployed: (more: Partial<DeployOptions>) => Promise<readonly string[]>;
}

async function world(t: TestContext): Promise<World> {
  const made = await cluster(t);
  const repo = writeTree(path.join(made.dir, "shop"), { "skein.yaml": "kind: files\n" });
  const git = (...args: string[]): string =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...args], {
      cwd: repo,
      encoding: "utf8",
    }).trim();
  git("init", "-q", "-b", "main");
  const { paths, signal } = made;
  await made.absent("n1");
  await made.absent("n2");
  const asked = t.mock.method(HubCaller.prototype, "raw");
  return {
    ...made,
    repo,
    commit: (text) => {
      writeFileSync(path.join(repo, "a.txt"), text);
      git("add", "-A");
      git("commit", "-qm", "a version");
      return git("rev-parse", "HEAD");
    },
    deployed: async (more) => {
      asked.mock.resetCalls();
      const wish = made.options({ cwd: repo, ...more });
      const { here, ahead } = await beginningOf(wish);
      using operator = await openOperator({ paths, signal, ahead });
      const options = { ...wish, here, depot: httpDepot(operator.client) };
      const published = await deploy(operator, options);
      await followOrder(operator, published, options);
      return asked.mock.calls.map(({ arguments: [{ method, path: to }] }) =>
        `${method} ${to}`.replace(/[0-9a-f]{64}/, "DIGEST"),
      );
    },
  };
}

test("a deployment asks the hub four times: what there is, the release, the order, how it goes", async (t) => {
  const { commit, deployed } = await world(t);
  const first = await deployed({ app: "shop", version: commit("one") });
  // Of nodes that this machine saw never before it asks who they are.
  assert.deepEqual(first, [BEGIN, BEGIN, "POST /v1/releases", ...END]);
  const known = [BEGIN, "POST /v1/releases", ...END];
  assert.deepEqual(await deployed({ app: "shop", version: commit("two") }), known, "by commit");
  commit("three");
  assert.deepEqual(await deployed({}), known, "what is here");
  commit("four");
  assert.deepEqual(
    await deployed({ app: "shop", version: "HEAD", selector: "all" }),
    known,
    "by a name of git's",
  );
});

test("a release that is there already is ordered with three (long)", async (t) => {
  const { commit, deployed, options, operator, repo } = await world(t);
  const one = commit("one");
  await deployed({ app: "shop", version: one });
  await deployed({ app: "shop", version: commit("two") });
  assert.deepEqual(await deployed({ app: "shop", version: one }), [BEGIN, ...END], "an earlier one");
  const { findTarget } = await import("./target.ts");
  const { release } = await findTarget(operator, options({ cwd: repo, app: "shop", version: one }));
  const elsewhere = { cwd: path.dirname(repo), app: "shop", version: release };
  assert.deepEqual(await deployed(elsewhere), [BEGIN, ...END], "by its id, where its commit is not");
});

test("a hub of before answers the same deployment, each question by itself (long)", async (t) => {
  const { commit, deployed } = await world(t);
  await deployed({ app: "shop", version: commit("one") });
  // oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
  const { raw } = HubCaller.prototype;
  type Request = Parameters<typeof raw>[0];
  const before = t.mock.method(
    HubCaller.prototype,
    "raw",
    async function (this: HubCaller, request: Request) {
      const { path: to, body } = request;
      if (/together$|views$/.test(to)) throw new SkeinError("NOT_FOUND", `there is no ${to}`);
      if (to === "/v1/releases" && typeof body === "string" && body.includes('"blobs"'))
        throw new SkeinError("BAD_REQUEST", "the body: Unrecognized key: blobs");
      return await raw.call(this, request);
    },
  );
  await deployed({ app: "shop", version: commit("two") });
  assert.ok(before.mock.callCount() > 8);
});
