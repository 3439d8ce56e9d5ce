import * as z from "zod";
import type { DocumentStore } from "../depot/seam/documents.ts";
import { listEndless } from "../depot/seam/list-bound.ts";
import { isSkeinError, SkeinError } from "../lib/errors/errors.ts";
import { rosterSchema } from "../trust/document/documents.ts";
import { envelopeSchema, parseEnvelope, type Envelope } from "../trust/document/envelope.ts";
import { CHARTERS, charterName, ORDERS, RELEASES, ROOT_NAME } from "./layout.ts";
import { parseRoot, rootOf, type Root } from "./root.ts";

/** An order with all that a node needs to believe it and to go back: one read brings it. */
const orderEntrySchema = z.strictObject({
  order: envelopeSchema,
  settle: envelopeSchema,
  roster: rosterSchema,
  /** Of every release that the order names. */
  releases: z.array(envelopeSchema).max(1100),
  /** Said and not signed: it is for some of the app's nodes alone, and the next one is for all of them again. */
  part: z.literal(true).optional(),
});
export type OrderEntry = z.infer<typeof orderEntrySchema>;

export function orderEntryBytes(entry: OrderEntry): Uint8Array {
  return Buffer.from(JSON.stringify(entry));
}

/** An order's document as `orderEntryBytes` wrote it; undefined: it is none. */
export function parseOrderEntry(text: string): OrderEntry | undefined {
  try {
    return orderEntrySchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** What a look at the root brought. */
export interface Look {
  readonly root: Root;
  /** To be given at the next look; undefined where the root was made from a listing. */
  readonly etag: string | undefined;
}

/**
 * Reads the root; where there is none that can be read, what the listing says.
 * @returns "same" while `etag` still stands
 */
export async function readRoot(
  documents: DocumentStore,
  etag: string | undefined,
  signal: AbortSignal,
): Promise<Look | "same"> {
  const found = await documents.read(ROOT_NAME, etag, signal);
  if (found === "same") return "same";
  const root = found === undefined ? undefined : rootIn(found.bytes);
  if (found === undefined || root === undefined) {
    return { root: await listRoot(documents, signal), etag: undefined };
  }
  return { root, etag: found.etag };
}

function rootIn(bytes: Uint8Array): Root | undefined {
  try {
    return parseRoot(bytes);
  } catch (err) {
    if (isSkeinError(err, "DOC_MALFORMED")) return undefined;
    throw err;
  }
}

/** What the root would have to say. */
export async function listRoot(documents: DocumentStore, signal: AbortSignal): Promise<Root> {
  const names: string[] = [];
  for (const prefix of [CHARTERS, RELEASES, ORDERS])
    names.push(...(await namesUnder(documents, prefix, signal)));
  return rootOf(names);
}

/** More than a bucket's documents come to; few enough to be held. */
const MOST_NAMES = 250_000;
/** Charters in all, as text. */
const MOST_CHARTER_BYTES = 16 * 2 ** 20;

/** @throws SkeinError LIST_ENDLESS */
export async function namesUnder(
  documents: DocumentStore,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { name } of documents.list(prefix, signal)) {
    if (names.length === MOST_NAMES)
      throw listEndless(documents.name, `${names.length} names under ${prefix}`);
    names.push(name);
  }
  return names;
}

/** @returns undefined when there is none (any more). @throws SkeinError DOC_MALFORMED */
export async function readOrderEntry(
  documents: DocumentStore,
  name: string,
  signal: AbortSignal,
): Promise<OrderEntry | undefined> {
  const value = await readJson(documents, name, signal);
  if (value === undefined) return undefined;
  const parsed = orderEntrySchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw malformed(name, z.prettifyError(parsed.error));
}

/** A signed document; nothing about it was checked but its form. @throws SkeinError DOC_MALFORMED */
export async function readSigned(
  documents: DocumentStore,
  name: string,
  signal: AbortSignal,
): Promise<Envelope | undefined> {
  const value = await readJson(documents, name, signal);
  return value === undefined ? undefined : parseEnvelope(value);
}

/**
 * The charters of the versions after `known`, up to the newest that the root names. They are proved when they are all
 * there, so that it is bounded how much of them a bucket that lies can hand out.
 * @throws SkeinError LIST_ENDLESS
 */
export async function readCharters(
  documents: DocumentStore,
  known: number,
  newest: number,
  signal: AbortSignal,
): Promise<readonly Envelope[]> {
  const charters: Envelope[] = [];
  let bytes = 0;
  for (let version = known + 1; version <= newest; version++) {
    const charter = await readSigned(documents, charterName(version), signal);
    if (charter === undefined) return charters;
    bytes += JSON.stringify(charter).length;
    if (bytes > MOST_CHARTER_BYTES) throw listEndless(documents.name, `${charters.length} charters`);
    charters.push(charter);
  }
  return charters;
}

async function readJson(documents: DocumentStore, name: string, signal: AbortSignal): Promise<unknown> {
  const found = await documents.read(name, undefined, signal);
  if (found === undefined || found === "same") return undefined;
  try {
    return JSON.parse(Buffer.from(found.bytes).toString("utf8"));
  } catch (cause) {
    throw malformed(name, "it is not JSON", cause);
  }
}

function malformed(name: string, why: string, cause?: unknown): SkeinError {
  return new SkeinError("DOC_MALFORMED", `${name}: ${why}`, { cause, data: { document: name } });
}
