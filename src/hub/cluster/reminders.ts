/**
 * What nodes remember of the cluster's members for a hub whose store was set back. Every document is worth what its
 * signatures are, as when it came first; that a node was let in at all, the hub's own mark says.
 */
import type { Membership, Reminder, ReturnPost } from "../../api/member-schemas.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import type { Change } from "../../trust/members/changes.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { keyIdOf } from "../../trust/keys/keys.ts";
import type { Core } from "../records/core.ts";
import { keys } from "../records/keys.ts";
import type { CatchUp } from "./catch-up.ts";
import type { Changes } from "./changes.ts";
import type { Charters } from "./charters.ts";
import { EntryMarks } from "./entry-marks.ts";
import type { Nodes } from "./nodes.ts";

/** Each costs a look at a signature; whoever sends more of them has nothing to say. */
const MOST_REFUSED = 20;

interface Parts {
  readonly charters: Charters;
  readonly nodes: Nodes;
  readonly changes: Changes;
  readonly catchUp: CatchUp;
}

export class Reminders {
  readonly #core: Core;
  readonly #parts: Parts;
  readonly #marks: EntryMarks;

  constructor(core: Core, parts: Parts) {
    this.#core = core;
    this.#parts = parts;
    this.#marks = new EntryMarks(core.signer);
  }

  /** What a member is to remember. @throws SkeinError NODE_NOT_FOUND */
  membershipOf(node: KeyId, after: number): Membership {
    const { nodes, changes } = this.#parts;
    const mark = this.#marks.of(digestOfEnvelope(nodes.documents(node).enrol));
    return { mark, changes: changes.after(after), revision: changes.revision };
  }

  /** What does not verify is nobody's loss, and said once for all of it. */
  async take(node: KeyId, { charters, changes }: Reminder): Promise<void> {
    const refused: SkeinError[] = [];
    const attempt = async (work: () => Promise<void>): Promise<void> => {
      if (refused.length >= MOST_REFUSED) return;
      await work().catch((err: unknown) => {
        if (!isSkeinError(err)) throw err;
        refused.push(err);
      });
    };
    // First: documents are judged by the newest charter.
    for (const charter of charters) await attempt(async () => await this.#takeCharter(charter));
    for (const change of inTurn(changes)) await attempt(async () => await this.#parts.changes.take(change));
    const [first] = refused;
    if (first === undefined) return;
    this.#core.log.warn("what a node remembers was not taken", { node, refused: refused.length, err: first });
  }

  /**
   * A node whose key is not known here says who it is.
   * @throws SkeinError TICKET_BAD where this hub never let it in, HUB_CATCHING_UP, and what Nodes.takeBack throws
   */
  async comeBack({ ticket, enrol, mark, reminder }: ReturnPost, caller: KeyId): Promise<KeyId> {
    const claimed = keyIdOf({ alg: "raw", pub: readUnverified(enrol, "enrol.1").key });
    if (claimed !== caller)
      throw new SkeinError("UNKNOWN_CLIENT", "a node comes back itself: the connection must use its key");
    // Before any work: anybody may call.
    if (!this.#marks.isOf(digestOfEnvelope(enrol), mark))
      throw new SkeinError("TICKET_BAD", "nothing shows that this hub let the node in");
    await this.take(caller, reminder);
    // Those who are known here are heard first: they may know of its end.
    this.#parts.catchUp.refuse();
    const heard = this.#core.mirror.get(keys.change(caller));
    const node = await this.#parts.nodes.takeBack(ticket, enrol, caller);
    this.#core.log.info("a node that the store had forgotten is back", { node });
    if (heard !== undefined) await this.take(caller, { charters: [], changes: [heard] });
    return node;
  }

  async #takeCharter(charter: Envelope): Promise<void> {
    const { charters } = this.#parts;
    const { version } = readUnverified(charter, "charter.1");
    if (version > charters.need().charter.version) await charters.post(charter);
  }
}

/** Ends first, since they free names; then the newest, which most likely verify. */
function inTurn(changes: readonly Change[]): Change[] {
  const newest = changes.toReversed();
  return [
    ...newest.filter(({ revoke }) => revoke !== null),
    ...newest.filter(({ revoke }) => revoke === null),
  ];
}
