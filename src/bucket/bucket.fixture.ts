import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../lib/testing/at-end.fixture.ts";
import type { DocumentEntry, DocumentStore } from "../depot/seam/documents.ts";
import { systemClock } from "../lib/time/clock.ts";
import { rosterOf, sealOrder, settleBody, type TestCluster } from "../trust/cluster.fixture.ts";
import type { Order } from "../trust/document/documents.ts";
import { seal } from "../trust/document/envelope.ts";
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

/** A store whose listings stay as they are until they are told to catch up. */
export function lateListings(store: DocumentStore): DocumentStore & { catchUp(): void } {
  const changed = new Map<string, readonly DocumentEntry[]>();
  const note = async (name: string, signal: AbortSignal): Promise<void> => {
    if (changed.has(name)) return;
    const before = await Array.fromAsync(store.list(name, signal));
    changed.set(name, before);
  };
  return {
    ...store,
    catchUp: () => changed.clear(),
    write: async (name, bytes, condition, signal) => {
      await note(name, signal);
      return await store.write(name, bytes, condition, signal);
    },
    delete: async (name, signal) => {
      await note(name, signal);
      await store.delete(name, signal);
    },
    async *list(prefix, signal) {
      const now = await Array.fromAsync(store.list(prefix, signal));
      const before = [...changed]
        .filter(([name]) => name.startsWith(prefix))
        .flatMap(([, entries]) => entries);
      const shown = [...now.filter(({ name }) => !changed.has(name)), ...before];
      yield* shown.sort((a, b) => (a.name < b.name ? -1 : 1));
    },
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
