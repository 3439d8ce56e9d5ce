import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";
import { Load, type LoadOptions } from "./load.fixture.ts";
import type { ReleasePlan } from "./release-plan.ts";
import { deploy, type Bench } from "./runtime.fixture.ts";

const SWAPS = 2;

/** Deploys one version after the other under load in both modes; tells what was lost. */
export async function swapUnderLoad(
  b: Bench,
  port: number,
  planOf: (version: number) => ReleasePlan,
  over: Partial<LoadOptions> = {},
) {
  let old = planOf(0);
  await deploy(b.runtime, old, undefined, b.signal);
  using held = new DisposableStack();
  const loads = (["keep", "one"] as const).map((mode) =>
    held.use(new Load({ port, perSec: 150, mode, connections: 8, timeoutMs: PATIENCE_MS, ...over })),
  );
  await sleep(200);
  let cut = 0;
  for (let n = 1; n <= SWAPS; n++) {
    const next = planOf(n);
    const { retired } = await deploy(b.runtime, next, old, b.signal);
    cut += retired?.cut ?? 0;
    old = next;
    await sleep(50);
  }
  await sleep(200);
  const [keep, one] = await Promise.all(loads.map(async (load) => await load.end()));
  assert.ok(keep !== undefined && one !== undefined);
  return { keep, one, cut };
}
