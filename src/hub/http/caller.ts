/** Who is calling: the key that TLS proved, and what vouches for it. */
import type http from "node:http";
import type { TLSSocket } from "node:tls";
import type { Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import type { Charter } from "../../trust/document/documents.ts";
import { parseEnvelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { keyIdOf } from "../../trust/keys/keys.ts";
import { openSession } from "../../trust/members/sessions.ts";
import { peerKey } from "../../trust/connection/tls.ts";

export type Caller =
  | { readonly role: "anonymous"; readonly spki: Digest; readonly kid: KeyId; readonly revoked: boolean }
  | { readonly role: "node"; readonly spki: Digest; readonly kid: KeyId }
  | { readonly role: "operator"; readonly spki: Digest; readonly kid: KeyId; readonly name: string };

/** What the caller's name is looked up in. */
export interface Known {
  charter(): Charter | undefined;
  membership(node: KeyId): "member" | "revoked" | undefined;
}

type PeerKey = NonNullable<ReturnType<typeof peerKey>>;

/** What the connection proved, and the key's id. A key is exported once for each connection, not for each request. */
const peers = new WeakMap<object, PeerKey & { readonly kid: KeyId }>();

function peerOf(socket: TLSSocket): (PeerKey & { readonly kid: KeyId }) | undefined {
  const known = peers.get(socket);
  if (known !== undefined) return known;
  const peer = peerKey(socket);
  if (peer === undefined) return undefined;
  const kid = keyIdOf({ alg: "raw", pub: peer.key.export({ format: "jwk" }).x ?? "" });
  const found = { ...peer, kid };
  peers.set(socket, found);
  return found;
}

const SESSIONS_KEPT = 1000;

export class Callers {
  readonly #known: Known;
  readonly #clock: Clock;
  /** Header → what it was found to say, so that a signature is checked once. Oldest first. */
  readonly #sessions = new Map<string, { spki: string; kid: KeyId; charter: number; expires: number }>();

  constructor(known: Known, clock: Clock) {
    this.#known = known;
    this.#clock = clock;
  }

  /** @throws SkeinError UNKNOWN_CLIENT (no key shown, or a session that vouches for nothing), CLOCK_SKEW, DOC_* */
  of(req: http.IncomingMessage): Caller {
    const peer = peerOf(req.socket as TLSSocket);
    if (peer === undefined) {
      throw new SkeinError("UNKNOWN_CLIENT", "the connection shows no Ed25519 key");
    }
    const header = req.headers["skein-session"];
    const charter = this.#known.charter();
    if (typeof header === "string" && charter !== undefined)
      return this.#operator(header, peer.spki, charter);
    const { kid } = peer;
    const membership = this.#known.membership(kid);
    if (membership === "member") return { role: "node", spki: peer.spki, kid };
    return { role: "anonymous", spki: peer.spki, kid, revoked: membership === "revoked" };
  }

  #operator(header: string, spki: Digest, charter: Charter): Caller {
    let session = this.#sessions.get(header);
    if (session?.charter !== charter.version || session.expires <= this.#clock.now()) {
      session = this.#verify(header, charter);
      this.#remember(header, session);
    }
    if (session.spki !== spki) throw new SkeinError("UNKNOWN_CLIENT", "the session is for another TLS key");
    const name = charter.operators[session.kid]?.name ?? "";
    return { role: "operator", spki, kid: session.kid, name };
  }

  #verify(header: string, charter: Charter) {
    const envelope = parseEnvelope(Buffer.from(header, "base64url").toString("utf8"));
    const { body } = openSession(charter, envelope, this.#clock.now());
    return { spki: body.key, kid: body.operator, charter: charter.version, expires: msOf(body.expires) };
  }

  #remember(header: string, session: { spki: string; kid: KeyId; charter: number; expires: number }): void {
    keepNewest(this.#sessions, SESSIONS_KEPT, header, session);
  }
}
