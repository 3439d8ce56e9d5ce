/** The small shapes that the API's bodies are made of. Ids are branded, so that one cannot be taken for another. */
import * as z from "zod";
import { rosterSchema } from "../trust/document/documents.ts";
import { envelopeSchema } from "../trust/document/envelope.ts";
import {
  appName,
  digest,
  envName,
  keyId,
  labels,
  nodeName,
  releaseId,
  time,
} from "../trust/document/fields.ts";

export { appName, digest, envName, keyId, labels, nodeName, releaseId, time };
/** A signed document (docs/formats/envelope.md). Only its shape is checked here; its meaning by who reads it. */
export const envelope = envelopeSchema;
export const roster = rosterSchema;
/** A name of a repository: that of an app. */
export const repoName = appName;

const wireError = z.object({
  code: z.string(),
  message: z.string(),
  hint: z.string().optional(),
  data: z.record(z.string(), z.unknown()).optional(),
});
export const errorBody = z.object({ error: wireError });

export const gate = z.enum(["hold", "go", "undo"]);
/** `hold`: do not start yet. `go`: proceed. `undo`: go back to the order's fallback. */
export type Gate = z.infer<typeof gate>;

/** Of one report, which a hub takes whole or not at all: of more, what matters most is said. */
export const MOST_REPORTED = {
  heads: 2000,
  receipts: 256,
  instances: 2000,
  apps: 1000,
  progress: 256,
} as const;

/** Longest note of an app, and of an order's progress. The hub takes no longer one, and with it none of the report. */
export const NOTE_CHARS = 120;
export const PROGRESS_NOTE_CHARS = 1000;
/** Longest word on what ails an app's instances. */
export const UNWELL_CHARS = 300;

const byteCount = z.number().min(0).optional();
/** Where a node's bytes came from; a source that gave none is absent, one that is not known here is passed over. */
export const bytesBySource = z.object({
  /** What the node had of earlier releases, as it lies in files. */
  disk: byteCount,
  /** From here on as they travelled. */
  cache: byteCount,
  peer: byteCount,
  hub: byteCount,
  bucket: byteCount,
  directory: byteCount,
});

/** What a node does with an app, as it says itself. */
export const appOnNode = z.object({
  app: appName,
  env: envName,
  /** The release whose instances serve, or null when nothing runs. */
  release: releaseId.nullable(),
  /** A word for people and filters: `running`, `stopped`, `deploying`, `failed` … */
  state: z.string().max(32),
  /** The newest order the node accepted. */
  head: digest.nullable(),
  /** Of the last install for that order; absent when nothing was installed since the agent started. */
  sources: bytesBySource.optional(),
  /** Releases that were staged and wait for their deployment; absent: none. */
  staged: z.array(releaseId).max(32).optional(),
  /** What is less than was asked for, for people: `not isolated`, `limits not enforced: memory`. */
  notes: z.array(z.string().max(NOTE_CHARS)).max(8).optional(),
  /**
   * Instances of that release crashed, or were replaced for failing their live checks: the last time, by the node's
   * clock, and for people what it was. `order`: the one that this agent carried out last, where that had begun to serve
   * by then.
   */
  unwell: z.object({ at: time, message: z.string().max(UNWELL_CHARS), order: digest.optional() }).optional(),
});

export const instanceReport = z.object({
  app: appName,
  env: envName,
  release: releaseId,
  commit: z
    .string()
    .regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/)
    .nullable(),
  process: z.string().max(63),
  /** Unique on the node. */
  instance: z
    .string()
    .max(128)
    .regex(/^[A-Za-z0-9._@:-]+$/),
  socket: z.string().max(63).nullable(),
  protocol: z.string().max(16).nullable(),
  host: z.string().max(255).nullable(),
  port: z.int().min(0).max(65_535).nullable(),
  /** Of a unix socket, whose port is 0: where it lies on its node. */
  path: z.string().max(108).optional(),
  pid: z.int().nullable(),
  state: z.string().max(32),
  since: time,
  /** It serves, and of the release that the node switched to last; apps that name it in `uses` find it. */
  current: z.boolean().optional(),
});
export type InstanceReport = z.infer<typeof instanceReport>;

export const progress = z.object({
  order: digest,
  stage: z.string().max(32),
  bytesDone: z.number().min(0),
  bytesTotal: z.number().min(0).nullable(),
  note: z.string().max(PROGRESS_NOTE_CHARS).nullable(),
});
export type Progress = z.infer<typeof progress>;

/** What a blob's bytes are called where JSON could come as well. */
export const BLOB_TYPE = "application/octet-stream";
