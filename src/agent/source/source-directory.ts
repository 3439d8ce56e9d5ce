import { watch } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import type { z } from "zod";
import { portList, wanted as wantedSchema, type Report } from "../../api/schemas.ts";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { digestOf, isKeyId, type KeyId } from "../../lib/text/ids.ts";
import type { DocumentBody } from "../../trust/document/documents.ts";
import { digestOfEnvelope, readUnverified } from "../../trust/document/envelope.ts";
import type { PeerHints } from "../peers/peer-hints.ts";
import type { Source } from "./source.ts";
import { until } from "../../lib/time/until.ts";

/**
 * A folder instead of a hub, for machines without a network to one: `wanted/<node>.json` is what a hub would answer
 * (its etag is its own digest), `ports.json` the table, `depot/` the blobs. The node leaves its newest report in
 * `reports/<node>.json`, receipts in `receipts/<receipt>.json` and answers in `answers/<command>.<node>.ndjson`.
 */
export async function directorySource(dir: string, node: KeyId): Promise<Source> {
  for (const name of ["wanted", "reports", "receipts", "answers"]) {
    await fs.mkdir(path.join(dir, name), { recursive: true });
  }
  const wantedFile = path.join(dir, "wanted", `${node}.json`);
  return {
    name: `folder ${dir}`,
    depots: [directoryDepot(path.join(dir, "depot"))],
    peers: folderHints(dir, node),
    paced: true,
    async wanted(etag, waitMs, signal) {
      const text = await textOtherThan(wantedFile, etag, waitMs, signal);
      return text === undefined ? undefined : { ...parse(wantedSchema, text), etag: digestOf(text) };
    },
    async report(report) {
      return await keepReport(dir, node, report);
    },
    async *ports(signal) {
      const file = path.join(dir, "ports.json");
      if ((await readIfThere(file)) === undefined) yield { ports: [], revision: 0 };
      for (let etag: string | undefined; !signal.aborted;) {
        const text = await textOtherThan(file, etag, 60_000, signal);
        if (text === undefined) continue;
        etag = digestOf(text);
        yield { ports: parse(portList, text).ports, revision: 0 };
      }
    },
    async answer(command, lines) {
      await writeFileAtomic(path.join(dir, "answers", `${command}.${node}.ndjson`), await buffer(lines));
    },
  };
}

/** Where nodes serve peers is in their reports; what proves who they are, in what they are told. */
function folderHints(dir: string, self: KeyId): PeerHints {
  return {
    async list(etag) {
      const peers: { node: string; address: string }[] = [];
      for (const file of (await fs.readdir(path.join(dir, "reports"))).sort()) {
        const node = file.slice(0, -".json".length);
        const text = await readIfThere(path.join(dir, "reports", file));
        const endpoint = text === undefined || !isKeyId(node) || node === self ? undefined : endpointIn(text);
        if (endpoint?.node === node) peers.push({ node, address: endpoint.addresses[0] ?? "" });
      }
      const now = digestOf(JSON.stringify(peers));
      return now === etag ? undefined : { etag: now, peers };
    },
    listsMembers: false,
    async documents(node) {
      const text = await readIfThere(path.join(dir, "wanted", `${node}.json`));
      if (text !== undefined) return parse(wantedSchema, text).identity;
      throw new SkeinError("NODE_NOT_FOUND", `no node ${node}`, { data: { node } });
    },
    proof: async () => undefined,
  };
}

/** Unproved: whoever connects checks the key that it finds there. */
function endpointIn(text: string): DocumentBody<"endpoint.1"> | undefined {
  try {
    const { endpoint } = JSON.parse(text) as Partial<Report>;
    return endpoint === undefined || endpoint === null ? undefined : readUnverified(endpoint, "endpoint.1");
  } catch {
    return undefined;
  }
}

async function keepReport(dir: string, node: KeyId, report: Report): ReturnType<Source["report"]> {
  const digests = [];
  for (const receipt of report.receipts) {
    const digest = digestOfEnvelope(receipt);
    await writeFileAtomic(path.join(dir, "receipts", `${digest}.json`), JSON.stringify(receipt));
    digests.push(digest);
  }
  await writeFileAtomic(path.join(dir, "reports", `${node}.json`), JSON.stringify(report));
  return { receipts: digests, catchingUp: false, duplicate: false, hubTime: report.at };
}

function parse<T>(schema: z.ZodType<T>, text: string): T {
  return schema.parse(JSON.parse(text));
}

/** The file's text as soon as its digest is another than `etag`; undefined when that did not happen in time. */
async function textOtherThan(
  file: string,
  etag: string | undefined,
  waitMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  using over = until([signal], waitMs);
  for (;;) {
    using news = nextChange(path.dirname(file), over.signal);
    const text = await readIfThere(file);
    if (text !== undefined && digestOf(text) !== etag) return text;
    if (over.signal.aborted) return undefined;
    await news.seen;
  }
}

/** Resolves at the next change in a folder, or when `over` aborts. */
function nextChange(dir: string, over: AbortSignal): Disposable & { readonly seen: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const seen = (): void => {
    resolve();
  };
  const watcher = watch(dir, { persistent: false }, seen);
  watcher.on("error", seen);
  over.addEventListener("abort", seen, { once: true });
  if (over.aborted) seen();
  return {
    seen: promise,
    [Symbol.dispose]() {
      watcher.close();
      over.removeEventListener("abort", seen);
    },
  };
}
