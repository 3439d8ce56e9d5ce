import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import type { HubClient } from "../../api/hub-client.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { NotConnected } from "../../trust/connection/tls.ts";
import { cluster } from "../cluster.fixture.ts";
import type { Operator } from "../identity/operator.ts";
import { headOf, readLine, type HeldOrder } from "../order/order.ts";
import { deploy } from "./deploy.ts";
import { steer } from "./steer.ts";

const lost = (): Error => new SkeinError("HUB_UNREACHABLE", "did not answer within 30000 ms");
const unheard = (): Error => new NotConnected("HUB_UNREACHABLE", "no answer within 10000 ms");

/** An order, and who says something to its rollout over a line that loses answers. */
async function world(t: TestContext): Promise<{
  head: HeldOrder;
  signal: AbortSignal;
  over: (...failures: (() => Error)[]) => [Operator, string[], Set<string | undefined>];
}> {
  const { operator, options, dir, absent, signal } = await cluster(t);
  await absent("n1");
  const from = path.join(dir, "app");
  mkdirSync(from);
  writeFileSync(path.join(from, "file.txt"), "");
  await deploy(operator, options({ from }));
  const head = headOf(await readLine(operator, "app", "default", signal));
  const over = (...failures: (() => Error)[]): [Operator, string[], Set<string | undefined>] => {
    const heard: string[] = [];
    const ids = new Set<string | undefined>();
    const steerRollout: HubClient["steerRollout"] = async (digest, word, said) => {
      assert.equal(digest, head.digest);
      ids.add(said);
      const failure = failures.shift()?.();
      if (!(failure instanceof NotConnected)) heard.push(word);
      if (failure !== undefined) throw failure;
      await Promise.resolve();
    };
    const client = new Proxy(operator.client, {
      get: (target, name) =>
        name === "steerRollout" ? steerRollout : (Reflect.get(target, name) as unknown),
    });
    const clock = { ...operator.clock, sleep: async () => await Promise.resolve() };
    return [{ ...operator, client, clock }, heard, ids];
  };
  return { head, signal, over };
}

test("a word to a rollout whose answer was lost is said again", async (t) => {
  const { head, signal, over } = await world(t);
  const [operator, heard, ids] = over(lost, unheard);
  await steer(operator, head, "pause", signal);
  assert.deepEqual(heard, ["pause", "pause"]);
  assert.deepEqual([ids.size, ids.has(undefined)], [1, false], "the hub knows it for the same word");

  const [cut] = over(lost, unheard, unheard, unheard);
  await assert.rejects(steer(cut, head, "abort", signal), {
    code: "HUB_UNREACHABLE",
    message: /; it may have heard the word all the same$/,
    hint: /^Type skein abort app again/,
  });

  const [away, nothing] = over(unheard);
  await assert.rejects(steer(away, head, "abort", signal), { message: "no answer within 10000 ms" });
  assert.deepEqual(nothing, []);
});
