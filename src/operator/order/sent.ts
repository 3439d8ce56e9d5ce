import { statSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import * as z from "zod";
import { errnoOf, isSkeinError } from "../../lib/errors/errors.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { asSkeinError, readIfThere, removeLeft, writeFileAtomic } from "../../lib/disk/files.ts";
import type { Digest } from "../../lib/text/ids.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { retry } from "../../lib/time/retry.ts";
import { rosterSchema } from "../../trust/document/documents.ts";
import { digestOfEnvelope, envelopeSchema } from "../../trust/document/envelope.ts";
import { appName, envName } from "../../trust/document/fields.ts";
import { learnedMeanwhile } from "./after-restore.ts";
import { operatorDir } from "../identity/home.ts";
import type { Tell } from "../tell/events.ts";
import type { Operator } from "../identity/operator.ts";
import { jsonIn } from "../../lib/text/json.ts";

/**
 * What was signed is on disk before it is sent, and after a cut these very bytes are sent again: signing anew could
 * put two different orders with one serial into the world.
 */
const sentSchema = z.strictObject({
  app: appName,
  env: envName,
  order: envelopeSchema,
  roster: rosterSchema,
  settle: envelopeSchema.nullable(),
  /** It is a rollback. */
  goesBack: z.boolean().default(false),
  /** It is for some of the app's nodes alone. */
  part: z.boolean().default(false),
});
export type Sent = z.infer<typeof sentSchema>;

const folderOf = (paths: Paths): string => path.join(operatorDir(paths), "sent");
/** One for each order: commands of this machine may be at it at the same time. */
const fileOf = (paths: Paths, { app, env, order }: Sent): string =>
  path.join(folderOf(paths), `${app}.${env}.${digestOfEnvelope(order).slice(0, 16)}.json`);
/** The newest that arrived. */
const arrivedFile = (paths: Paths, app: string, env: string): string =>
  path.join(operatorDir(paths), "arrived", `${app}.${env}.json`);

/** What earlier commands had signed and did not see arrive, the oldest first. */
async function unsent(paths: Paths, app: string, env: string): Promise<readonly string[]> {
  const names = await fs.readdir(folderOf(paths)).catch((err: unknown) => {
    if (errnoOf(err) === "ENOENT") return [];
    throw asSkeinError(err, folderOf(paths));
  });
  const found = names.filter((name) => name.startsWith(`${app}.${env}.`) && name.endsWith(".json"));
  const files = found.map((name) => path.join(folderOf(paths), name));
  const written = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return files.sort((one, other) => written(one) - written(other));
}

/**
 * Publishes a signed order, `after` what it needs has arrived.
 * @throws SkeinError HEAD_MOVED, DEPLOY_IN_PROGRESS, HUB_UNREACHABLE after some tries; what `after` throws
 */
export async function send(
  operator: Operator,
  sent: Sent,
  signal: AbortSignal,
  after?: Promise<void>,
): Promise<Digest> {
  const file = fileOf(operator.paths, sent);
  await fs.mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  removeLeft(path.dirname(file));
  await writeFileAtomic(file, JSON.stringify(sent));
  faultPoint("operator.signed");
  try {
    await after;
    const digest = await post(operator, sent, signal);
    await noteArrival(operator.paths, file, sent);
    return digest;
  } catch (err) {
    // The hub has read these bytes and will not take them: nothing is left to send again.
    if (!isCut(err, signal)) await fs.rm(file, { force: true });
    throw err;
  }
}

/** Nobody knows whether the hub has read the bytes. */
const isCut = (err: unknown, signal: AbortSignal): boolean =>
  signal.aborted || isSkeinError(err, "HUB_UNREACHABLE", "INTERRUPTED");

/** Another command that found the file may have sent it, or have been told that it came too early. */
async function noteArrival(paths: Paths, file: string, sent: Sent): Promise<void> {
  const arrived = arrivedFile(paths, sent.app, sent.env);
  await fs.mkdir(path.dirname(arrived), { recursive: true, mode: 0o700 });
  try {
    await fs.rename(file, arrived);
  } catch (err) {
    if (errnoOf(err) !== "ENOENT") throw asSkeinError(err, arrived);
    await writeFileAtomic(arrived, JSON.stringify(sent));
  }
}

/**
 * Tells a hub the settle of an order that was signed here, should it have forgotten that: nodes hear of a settle, and
 * remember it, only when the whole rollout ended well.
 * @throws SkeinError HUB_UNREACHABLE
 */
export async function remindOfSettle(
  { paths, client, dryRun }: Operator,
  { app, env, digest }: { readonly app: string; readonly env: string; readonly digest: Digest },
  signal: AbortSignal,
): Promise<void> {
  const text = dryRun === undefined ? await readIfThere(arrivedFile(paths, app, env)) : undefined;
  if (text === undefined) return;
  const arrived = sentSchema.safeParse(jsonIn(text));
  if (!arrived.success || digestOfEnvelope(arrived.data.order) !== digest) return;
  const { settle } = arrived.data;
  if (settle === null) return;
  await client.postSettle(settle, signal).catch((err: unknown) => {
    if (!isSkeinError(err) || err.code === "HUB_UNREACHABLE") throw err;
  });
}

/** Is there something that an earlier command had signed and could not deliver? */
export async function isUnsent({ paths }: Operator, app: string, env: string): Promise<boolean> {
  return (await unsent(paths, app, env)).length > 0;
}

/** An earlier command that was cut may have signed an order: it comes first. A dry run tells of it. */
export async function deliverEarlier(
  operator: Operator,
  app: string,
  { env, tell, signal }: { readonly env: string; readonly tell: Tell; readonly signal: AbortSignal },
): Promise<void> {
  if (operator.dryRun !== undefined) {
    if (!(await isUnsent(operator, app, env))) return;
    return tell({ type: "warning", text: "An order that was signed before would be delivered first." });
  }
  for (const file of await unsent(operator.paths, app, env)) {
    const earlier = await resend(operator, file, signal);
    if (earlier === undefined) continue;
    tell({
      type: "note",
      text: `An order that was signed before (${earlier.slice(0, 12)}) was delivered now.`,
    });
  }
}

/**
 * Sends what an earlier command had signed and could not deliver.
 * @returns its digest, or undefined when there was nothing, or another order has come first
 * @throws SkeinError HUB_UNREACHABLE and what else says nothing of the order: it is kept then
 */
async function resend(operator: Operator, file: string, signal: AbortSignal): Promise<Digest | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  const sent = sentSchema.safeParse(jsonIn(text));
  if (!sent.success) {
    await fs.rm(file, { force: true });
    return undefined;
  }
  try {
    const digest = await post(operator, sent.data, signal);
    await noteArrival(operator.paths, file, sent.data);
    return digest;
  } catch (err) {
    if (isCut(err, signal) || isSkeinError(err, ...LATER) || !isSkeinError(err)) throw err;
    await fs.rm(file, { force: true });
    return undefined;
  }
}

/** The hub takes no order now. */
const LATER = ["HUB_CATCHING_UP", "TOO_MANY"] as const;

async function post(operator: Operator, sent: Sent, signal: AbortSignal): Promise<Digest> {
  const { client, clock } = operator;
  const digest = digestOfEnvelope(sent.order);
  let wasRestored = false;
  try {
    await retry(() => client.postOrder(sent.order, sent.roster, sent.settle, signal, sent), {
      tries: 8,
      baseMs: 200,
      maxMs: 5000,
      random: Math.random,
      clock,
      signal,
      worthRetrying: (err) => {
        wasRestored ||= isSkeinError(err, "HUB_CATCHING_UP");
        return isSkeinError(err, "HUB_UNREACHABLE", ...LATER);
      },
    });
  } catch (err) {
    throw wasRestored && isSkeinError(err, "HEAD_MOVED") ? learnedMeanwhile(sent, err) : err;
  }
  return digest;
}
