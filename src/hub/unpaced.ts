/**
 * Rollouts without pace: every node may start at once, and an order stands as soon as its settle is proven. What a hub
 * does that is given no rollout controller.
 */
import type { RolloutNode, RolloutView } from "../api/schemas.ts";
import type { Digest } from "../lib/ids.ts";
import { SkeinError } from "../lib/errors.ts";
import { readUnverified, type Envelope } from "../trust/envelope.ts";
import type { Core } from "./core.ts";
import type { Rollouts } from "./gates.ts";
import { keys } from "./keys.ts";
import type { Orders } from "./orders.ts";

export function unpaced(core: Core, orders: Orders): Rollouts {
  const trySettle = (digest: Digest): void => {
    orders
      .publishSettle(digest)
      .catch((err: unknown) => core.log.error("a settle was not published", { digest, err }));
  };
  const stop = core.mirror.onChange((changed) => {
    for (const key of changed) {
      const [, folder, digest] = key.split("/");
      if (folder === "receipts" || folder === "settles") trySettle(digest as Digest);
    }
  });
  return {
    gateFor: () => "go",
    underWay: () => false,
    progress: () => undefined,
    abort: async () => {
      throw new SkeinError("UNDO_TOO_LATE", "this hub does not pace rollouts");
    },
    view: async (digest) => await viewOf(core, orders, digest),
    [Symbol.asyncDispose]: async () => stop(),
  };
}

async function viewOf(core: Core, orders: Orders, digest: Digest): Promise<RolloutView | undefined> {
  const record = orders.find(digest);
  if (record === undefined) return undefined;
  const { app, env, release, roster } = orders.body(record);
  const { entries, revision } = await core.store.range(keys.receipts(digest));
  const receipts = new Map(
    entries.map(({ value }) => {
      const receipt = readUnverified(JSON.parse(value) as Envelope, "receipt.1");
      return [receipt.node, receipt];
    }),
  );
  const held = await orders.roster(roster);
  const nodes = (held?.nodes ?? []).map(({ node, name }): RolloutNode => {
    const receipt = receipts.get(node);
    return {
      node,
      name,
      batch: 0,
      gate: "go",
      state: receipt === undefined ? "waiting" : "done",
      verdict: receipt?.verdict ?? null,
      code: receipt?.code ?? null,
      message: receipt?.message ?? null,
      bytesDone: 0,
      bytesTotal: null,
      note: null,
      cut: receipt?.cut ?? 0,
    };
  });
  const ok = nodes.every(({ verdict }) => verdict === "ok");
  const failed = nodes.find(({ verdict }) => verdict !== null && verdict !== "ok");
  const verdict = failed === undefined ? null : { ok: false, code: failed.code, message: failed.message };
  return {
    order: digest,
    app,
    env,
    release,
    phase: ok ? "ok" : failed === undefined ? "running" : "failed",
    nodes,
    verdict: ok ? { ok: true, code: null, message: null } : verdict,
    revision,
  };
}
