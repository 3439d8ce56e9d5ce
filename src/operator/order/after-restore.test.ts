import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test, type TestContext } from "node:test";
import type { HubClient } from "../../api/hub-client.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { pathsFrom } from "../../lib/disk/paths.ts";
import { cluster, orEnded, type Cluster } from "../cluster.fixture.ts";
import { deploy } from "../deploy/deploy.ts";
import { follow } from "./follow.ts";
import { restart } from "../deploy/lifecycle.ts";
import type { ReorderOptions } from "../deploy/reorder.ts";
import type { Operator } from "../identity/operator.ts";
import type { PublishedOrder } from "./publish-order.ts";
import { rollback } from "../deploy/rollback.ts";

interface World extends Cluster {
  readonly deployed: (text: string, by?: Operator) => Promise<PublishedOrder>;
  readonly lifecycle: ReorderOptions;
  /** The same operator at another machine. */
  readonly elsewhere: Operator;
  /** Whatever is ordered is taken back at once, so that the next order is taken. */
  readonly ended: (ordering: Promise<PublishedOrder>) => Promise<PublishedOrder>;
}

/** An app on a node that is away. */
async function world(t: TestContext): Promise<World> {
  const made = await cluster(t);
  const { operator, options, dir, events, signal } = made;
  await made.absent("n1");
  const from = path.join(dir, "app");
  mkdirSync(from);
  const deployed = async (text: string, by = operator): Promise<PublishedOrder> => {
    writeFileSync(path.join(from, "file.txt"), text);
    return await deploy(by, options({ from }));
  };
  const lifecycle = {
    app: "app",
    env: "default",
    release: null,
    selector: null,
    attended: false,
    tell: (event: (typeof events)[number]) => void events.push(event),
    signal,
  };
  const ended: World["ended"] = async (ordering) => {
    const published = await ordering;
    await orEnded(operator.client.steerRollout(published.order, "abort", undefined, signal));
    await Array.fromAsync(follow(operator, published.order, signal));
    return published;
  };
  const elsewhere = { ...operator, paths: pathsFrom({ SKEIN_HOME: path.join(dir, "elsewhere") }) };
  return { ...made, deployed, lifecycle, ended, elsewhere };
}

/** A hub that catches up `times` times when it is sent an order, and learns of one more order each time. */
function restored({ operator }: World, learn: (time: number) => Promise<unknown>, times: number): Operator {
  let time = 0;
  let catchingUp = true;
  const postOrder: HubClient["postOrder"] = async (...args) => {
    catchingUp = !catchingUp;
    if (!catchingUp && time < times) {
      await learn(++time);
      throw new SkeinError("HUB_CATCHING_UP", "not now");
    }
    return await operator.client.postOrder(...args);
  };
  return withPost(operator, postOrder);
}

function withPost(operator: Operator, postOrder: HubClient["postOrder"]): Operator {
  const client = new Proxy(operator.client, {
    get: (target, name) => {
      const value: unknown = name === "postOrder" ? postOrder : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { ...operator, client, clock: { ...operator.clock, sleep: async () => undefined } };
}

test("what a restored hub learns of while it is sent an order, the order comes after by itself", async (t) => {
  const all = await world(t);
  const { deployed, elsewhere, lifecycle, events, ended } = all;
  const { release } = (await ended(deployed("one"))).draft.order;
  const commands: Readonly<Record<string, (by: Operator) => Promise<PublishedOrder>>> = {
    deploy: async (by) => await deployed("mine", by),
    restart: async (by) => await restart(by, lifecycle),
    rollback: async (by) => await rollback(by, { ...lifecycle, release }),
  };
  for (const [name, command] of Object.entries(commands)) {
    const learned: PublishedOrder[] = [];
    const learn = async (): Promise<unknown> => learned.push(await ended(restart(elsewhere, lifecycle)));
    events.length = 0;
    const { draft } = await ended(command(restored(all, learn, 1)));
    assert.equal(draft.order.prev, learned[0]?.order, name);
    assert.match(JSON.stringify(events.filter(({ type }) => type === "note")), /Ordering once more/, name);
  }
});

test("a second time is told, and so is an order that nobody restored", async (t) => {
  const all = await world(t);
  const { deployed, operator, elsewhere, lifecycle, ended } = all;
  await ended(deployed("one"));
  const learn = async (): Promise<unknown> => await ended(restart(elsewhere, lifecycle));
  await assert.rejects(restart(restored(all, learn, 2), lifecycle), {
    code: "HEAD_MOVED",
    message: /restored from a backup/,
  });
  let posts = 0;
  const moving = withPost(operator, async (...args) => {
    posts += 1;
    await learn();
    return await operator.client.postOrder(...args);
  });
  await assert.rejects(restart(moving, lifecycle), { code: "HEAD_MOVED" });
  assert.equal(posts, 1);
});
