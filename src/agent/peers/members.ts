import type { NodeDocuments } from "../../api/member-schemas.ts";
import { hasPassed, type Clock } from "../../lib/time/clock.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import { openBirth } from "../../trust/members/identity.ts";
import { spkiDigestOf } from "../../trust/keys/keys.ts";
import type { NodeState } from "../../trust/node/node-state.ts";

export interface MembersOptions {
  readonly state: () => Pick<NodeState, "charter" | "pin">;
  /** What proves a node's identity, from whoever has it. */
  readonly documents: (node: KeyId, signal: AbortSignal) => Promise<NodeDocuments>;
  /** Does whoever hands them over say, now, that it is a node still? For all nodes at once that is one short question. */
  readonly isListed: (node: KeyId) => Promise<boolean>;
  readonly clock: Clock;
}

/** What was found out holds so long; a revocation is noticed after that, since who was revoked is listed no more. */
const FRESH_MS = 60_000;
/** What was found out last counts so long where nobody can be asked. */
const STALE_MS = 24 * 3_600_000;
/** A stranger is looked up at most so often. */
const STRANGER_MS = 10_000;
const ASK_MS = 5000;
const KEPT = 4096;

interface Known {
  /** Digest of its TLS key; undefined: it is no member. */
  readonly spki: Digest | undefined;
  readonly charter: number;
  readonly at: number;
}

/**
 * Which keys are nodes of the cluster: by the birth certificate that an operator's ticket makes, checked here under
 * the charter that this node pinned, whoever handed it over. Whoever hands over may hold a revocation back; nothing
 * that it adds is believed.
 */
export class Members {
  readonly #options: MembersOptions;
  readonly #known = new Map<KeyId, Known>();
  readonly #asking = new Map<KeyId, Promise<Known | undefined>>();

  constructor(options: MembersOptions) {
    this.#options = options;
  }

  /** The digest of the node's TLS key; undefined for strangers and for those that were revoked. Never throws. */
  async spki(node: KeyId): Promise<Digest | undefined> {
    const now = this.#options.clock.now();
    const known = this.#underCharter(node);
    if (known !== undefined && isFresh(known, now)) return known.spki;
    // Documents do not change but by a new charter; whoever could hide a revocation could hold it back as well.
    if (known?.spki !== undefined && (await this.#options.isListed(node))) {
      keepNewest(this.#known, KEPT, node, { ...known, at: now });
      return known.spki;
    }
    const found = await (this.#asking.get(node) ?? this.#ask(node));
    if (found !== undefined) return found.spki;
    // Nobody answered: a member stays one for a while under the charter that made it one.
    return known !== undefined && !hasPassed(STALE_MS, known.at, now) ? known.spki : undefined;
  }

  /** What was found out under the charter in force. */
  #underCharter(node: KeyId): Known | undefined {
    const known = this.#known.get(node);
    return known?.charter === this.#options.state().charter.version ? known : undefined;
  }

  #ask(node: KeyId): Promise<Known | undefined> {
    const asking = this.#lookUp(node).finally(() => this.#asking.delete(node));
    this.#asking.set(node, asking);
    return asking;
  }

  /** Undefined when nobody could be asked. */
  async #lookUp(node: KeyId): Promise<Known | undefined> {
    const { documents, clock } = this.#options;
    let spki: Digest | undefined;
    try {
      spki = this.#verify(node, await documents(node, AbortSignal.timeout(ASK_MS)));
    } catch (err) {
      if (!isSkeinError(err, "NODE_NOT_FOUND", "NOT_FOUND")) return undefined;
    }
    const known = { spki, charter: this.#options.state().charter.version, at: clock.now() };
    keepNewest(this.#known, KEPT, node, known);
    return known;
  }

  #verify(node: KeyId, documents: NodeDocuments): Digest | undefined {
    // Even one that proves nothing: whoever hands it over wants this node to be left alone, and could as well be silent.
    if (documents.revoke !== null) return undefined;
    try {
      const { charter, pin } = this.#options.state();
      const { identity, enrol } = openBirth(charter, documents, { pin });
      return identity.node === node ? spkiDigestOf(enrol.key) : undefined;
    } catch (err) {
      if (isSkeinError(err)) return undefined;
      throw err;
    }
  }
}

function isFresh({ spki, at }: Known, now: number): boolean {
  return !hasPassed(spki === undefined ? STRANGER_MS : FRESH_MS, at, now);
}
