import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import { ERROR_CODES, type ErrorCode } from "../../lib/errors/error-codes.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import type { Digest, ReleaseId } from "../../lib/text/ids.ts";
import { silentLog, type Log } from "../../lib/process/log.ts";
import { envelopeSchema } from "../../trust/document/envelope.ts";
import { appName, digest, envName, releaseId } from "../../trust/document/fields.ts";
import type { StepName } from "./plan.ts";
import { readOwn } from "../node/own-file.ts";
import type { WriteFile } from "../node/reserve.ts";

const reached = z.object({
  order: digest,
  release: releaseId.nullable(),
  state: z.enum(["run", "stopped"]),
  generation: z.int(),
  beside: z.array(releaseId).readonly(),
});

const code = z.custom<ErrorCode>((value) => typeof value === "string" && Object.hasOwn(ERROR_CODES, value));
const attempt = reached.extend({
  mode: z.enum(["jump", "restart", "start", "beside", "stop", "return"]),
  hooks: z.boolean(),
  local: z.boolean().optional(),
  previous: releaseId.nullable(),
  before: reached.nullable(),
  done: z.array(z.custom<StepName>((value) => typeof value === "string")).readonly(),
  back: z
    .object({
      why: z.enum(["failed", "undone", "superseded"]),
      code,
      message: z.string(),
      hint: z.string().optional(),
    })
    .nullable(),
  stuck: z.string().nullable(),
  cut: z.int(),
  answers: z.object({ epoch: z.int(), seq: z.int(), release: releaseId }),
});

const recordSchema = z.object({
  app: appName,
  env: envName,
  reached: reached.nullable(),
  attempt: attempt.nullable(),
  /** Releases that ended an attempt well, newest first. What runs and what may be gone back to is kept from gc. */
  good: z.array(releaseId).readonly(),
  /** Releases whose post-sync hook ran well; for what is installed now, its install says so too (`installs/synced.ts`). */
  synced: z.array(releaseId).readonly(),
  /** What this node answered to its last orders. */
  verdicts: z.record(digest, z.enum(["ok", "failed", "undone", "refused"])),
  /** The receipt to the newest order, for a hub that lost it. */
  lastReceipt: envelopeSchema.nullable(),
});

/** What happened to one app here. Written (with fsync) before each step that it tells about is relied on. */
export type AppRecord = Readonly<z.infer<typeof recordSchema>>;

const VERDICTS_KEPT = 100;

export interface Records {
  all(): readonly AppRecord[];
  get(app: string): AppRecord | undefined;
  /** Durable when it resolves. */
  save(record: AppRecord): Promise<void>;
  /** Holds and tells a record that need not survive a crash by itself: the next `save` of the app's writes it. */
  note(record: AppRecord): void;
  /** The app is gone from this node. */
  remove(app: string): Promise<void>;
  /** Calls `listener` after every change until the returned function is called. */
  onChange(listener: () => void): () => void;
}

export function newRecord(app: string, env: string): AppRecord {
  return { app, env, reached: null, attempt: null, good: [], synced: [], verdicts: {}, lastReceipt: null };
}

/**
 * The release of an app that callers of other apps are led to: the one that this node switched to last, also while
 * the old one still drains. null: none, or another environment's.
 */
export function currentOf(record: AppRecord | undefined, env: string): ReleaseId | null {
  if (record?.env !== env) return null;
  const { attempt, reached } = record;
  const done = attempt?.done ?? [];
  const serving = done.includes("attach") && !done.includes("back-attach") ? attempt : reached;
  return serving?.state === "run" ? serving.release : null;
}

/** The record with a release added to those that ran well. */
export function withGood(record: AppRecord, release: ReleaseId): AppRecord {
  return { ...record, good: [release, ...record.good.filter((id) => id !== release)].slice(0, 100) };
}

/** The record with what was answered to an order; the oldest answers are forgotten. */
export function withVerdict(
  record: AppRecord,
  order: Digest,
  verdict: "ok" | "failed" | "undone" | "refused",
): AppRecord {
  const others = Object.entries(record.verdicts).filter(([known]) => known !== order);
  return {
    ...record,
    verdicts: Object.fromEntries([...others.slice(1 - VERDICTS_KEPT), [order, verdict]]),
  };
}

/**
 * One file per app under `dir`. An app whose record is damaged is one that nothing happened to yet: its order is
 * carried out anew, over what serves.
 */
export async function openRecords(
  dir: string,
  write: WriteFile = writeFileAtomic,
  log: Log = silentLog,
): Promise<Records> {
  await fs.mkdir(dir, { recursive: true, mode: 0o700 });
  const records = new Map<string, AppRecord>();
  const listeners = new Set<() => void>();
  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  for (const name of await fs.readdir(dir)) {
    if (!name.endsWith(".json")) {
      await fs.rm(path.join(dir, name), { force: true });
      continue;
    }
    const record = await readOwn(path.join(dir, name), (text) => recordSchema.parse(JSON.parse(text)), log);
    if (record !== undefined) records.set(record.app, record);
  }
  return {
    all: () => [...records.values()],
    get: (app) => records.get(app),
    async save(record) {
      faultPoint("agent.record-save");
      await write(path.join(dir, `${record.app}.json`), `${JSON.stringify(record)}\n`);
      records.set(record.app, record);
      changed();
      faultPoint("agent.record-saved");
    },
    note(record) {
      records.set(record.app, record);
      changed();
    },
    async remove(app) {
      await fs.rm(path.join(dir, `${app}.json`), { force: true });
      records.delete(app);
      changed();
    },
    onChange(listener) {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}
