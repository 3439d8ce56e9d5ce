import { createPrivateKey } from "node:crypto";
import path from "node:path";
import * as z from "zod";
import type { Clock } from "../lib/clock.ts";
import { readIfThere, writeFileAtomic } from "../lib/files.ts";
import type { Paths } from "../lib/paths.ts";
import { envelopeSchema, readUnverified, seal, type Envelope } from "../trust/envelope.ts";
import { msOf, timeOf } from "../trust/fields.ts";
import type { Signer } from "../trust/keys.ts";
import { ephemeralIdentity, tlsIdentity, type TlsIdentity } from "../trust/tls.ts";
import { operatorDir } from "./home.ts";

/**
 * TLS takes no external signer, so the operator's key vouches for a short-lived one. It is kept for its 12 hours:
 * an ssh-agent that asks for each signature would otherwise ask for each command. It proves who is calling, and
 * signs nothing.
 */
export interface Session {
  readonly identity: TlsIdentity;
  readonly session: Envelope;
}

const LIFETIME_MS = 12 * 3_600_000;
/** A session that is about to end is not begun with. */
const SPARE_MS = 30 * 60_000;

const keptSchema = z.strictObject({ key: z.string(), session: envelopeSchema });

export async function openSession(
  paths: Paths,
  cluster: string,
  signer: Signer,
  clock: Clock,
): Promise<Session> {
  const file = path.join(operatorDir(paths), "session.json");
  const kept = readKept(await readIfThere(file), cluster, signer, clock);
  if (kept !== undefined) return kept;
  const identity = ephemeralIdentity();
  const now = clock.now();
  const session = await seal(
    "session.1",
    {
      cluster,
      operator: signer.kid,
      key: identity.spki,
      issued: timeOf(now),
      expires: timeOf(now + LIFETIME_MS),
    },
    [signer],
  );
  await writeFileAtomic(file, JSON.stringify({ key: identity.key, session }));
  return { identity, session };
}

/** What was kept, unless it is another's, too old, or from a clock that was ahead. */
function readKept(
  text: string | undefined,
  cluster: string,
  signer: Signer,
  clock: Clock,
): Session | undefined {
  if (text === undefined) return undefined;
  try {
    const { key, session } = keptSchema.parse(JSON.parse(text));
    const body = readUnverified(session, "session.1");
    const now = clock.now();
    const current = msOf(body.issued) <= now && msOf(body.expires) - SPARE_MS > now;
    if (body.cluster !== cluster || body.operator !== signer.kid || !current) return undefined;
    const identity = tlsIdentity(createPrivateKey(key), "skein-session");
    return identity.spki === body.key ? { identity, session } : undefined;
  } catch {
    return undefined;
  }
}
