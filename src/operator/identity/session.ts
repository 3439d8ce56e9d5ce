import { createPrivateKey } from "node:crypto";
import path from "node:path";
import * as z from "zod";
import type { Clock } from "../../lib/time/clock.ts";
import { readIfThere, writeFileAtomic } from "../../lib/disk/files.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { envelopeSchema, readUnverified, seal, type Envelope } from "../../trust/document/envelope.ts";
import { msOf, timeOf } from "../../trust/document/fields.ts";
import type { Signer } from "../../trust/keys/keys.ts";
import { ephemeralIdentity, tlsIdentity, type TlsIdentity } from "../../trust/connection/tls.ts";
import { operatorDir } from "./home.ts";

/**
 * TLS takes no external signer, so the operator's key vouches for a short-lived one. It is kept for its 12 hours:
 * an ssh-agent that asks for each signature would otherwise ask for each command. It proves who is calling, and
 * signs nothing.
 */
export interface Session {
  readonly identity: TlsIdentity;
  /** What vouches for it. It is signed anew before it ends: a command may run for longer. */
  readonly document: () => Promise<Envelope>;
}

interface Owner {
  readonly file: string;
  readonly cluster: string;
  readonly signer: Signer;
  readonly clock: Clock;
}

interface Kept {
  readonly identity: TlsIdentity;
  readonly session: Envelope;
}

const LIFETIME_MS = 12 * 3_600_000;
/** A session that is about to end is not used: a request may take its time, and the hub's clock may be ahead. */
const SPARE_MS = 30 * 60_000;

const keptSchema = z.strictObject({ key: z.string(), session: envelopeSchema });

export async function openSession(
  paths: Paths,
  cluster: string,
  signer: Signer,
  clock: Clock,
): Promise<Session> {
  const owner = { file: path.join(operatorDir(paths), "session.json"), cluster, signer, clock };
  const kept = readKept(await readIfThere(owner.file), owner);
  const identity = kept?.identity ?? ephemeralIdentity();
  let latest = kept?.session ?? (await vouchFor(identity, owner));
  let renewing: Promise<Envelope> | undefined;
  return {
    identity,
    document: async () => {
      if (isCurrent(latest, clock)) return latest;
      renewing ??= vouchFor(identity, owner).finally(() => (renewing = undefined));
      return (latest = await renewing);
    },
  };
}

async function vouchFor(identity: TlsIdentity, { file, cluster, signer, clock }: Owner): Promise<Envelope> {
  const now = clock.now();
  const times = { issued: timeOf(now), expires: timeOf(now + LIFETIME_MS) };
  const body = { cluster, operator: signer.kid, key: identity.spki, ...times };
  const session = await seal("session.1", body, [signer]);
  await writeFileAtomic(file, JSON.stringify({ key: identity.key, session }));
  return session;
}

/** What was kept, unless it is another's, too old, or from a clock that was ahead. */
function readKept(text: string | undefined, { cluster, signer, clock }: Owner): Kept | undefined {
  if (text === undefined) return undefined;
  try {
    const { key, session } = keptSchema.parse(JSON.parse(text));
    const body = readUnverified(session, "session.1");
    if (body.cluster !== cluster || body.operator !== signer.kid || !isCurrent(session, clock))
      return undefined;
    const identity = tlsIdentity(createPrivateKey(key), "skein-session");
    return identity.spki === body.key ? { identity, session } : undefined;
  } catch {
    return undefined;
  }
}

function isCurrent(session: Envelope, clock: Clock): boolean {
  const { issued, expires } = readUnverified(session, "session.1");
  const now = clock.now();
  return msOf(issued) <= now && msOf(expires) - SPARE_MS > now;
}
