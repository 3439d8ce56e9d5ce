import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../lib/at-end.fixture.ts";
import type { DocumentStore } from "../depot/documents.ts";
import { systemClock } from "../lib/clock.ts";
import { rosterOf, sealOrder, settleBody, type TestCluster } from "../trust/cluster.fixture.ts";
import type { Order } from "../trust/documents.ts";
import { seal } from "../trust/envelope.ts";
import type { OrderEntry } from "./entries.ts";
import type { PublishTools } from "./publish.ts";

/** A folder of the test's own. */
export function folder(t: TestContext): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), "skein-bucket-"));
  atEnd(t, () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A store whose server cannot compare, as many S3 servers cannot. */
export function unconditional(store: DocumentStore): DocumentStore {
  return {
    ...store,
    conditional: false,
    write: async (name, bytes, _condition, signal) => await store.write(name, bytes, {}, signal),
  };
}

export interface Counted {
  readonly store: DocumentStore;
  /** `read root.json`, `list orders/`. */
  readonly calls: string[];
}

/** Counts what is asked of a store. */
export function counted(store: DocumentStore): Counted {
  const calls: string[] = [];
  return {
    calls,
    store: {
      ...store,
      read: async (name, etag, signal) => {
        calls.push(`read ${name}`);
        return await store.read(name, etag, signal);
      },
      list: (prefix, signal) => {
        calls.push(`list ${prefix}`);
        return store.list(prefix, signal);
      },
    },
  };
}

export function tools(documents: DocumentStore, signal: AbortSignal): PublishTools {
  return { documents, clock: systemClock, signal };
}

export async function entryOf(cluster: TestCluster, order: Order): Promise<OrderEntry> {
  const envelope = await sealOrder(order, cluster.alice);
  const settle = await seal("settle.1", settleBody(order, envelope), [cluster.alice]);
  return { order: envelope, settle, roster: rosterOf(), releases: [] };
}
