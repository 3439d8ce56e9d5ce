/**
 * What was signed about nodes since they joined: their newest labels, their ends. Nodes are told, so that a hub whose
 * store was set back hears of it from any of them, and not only from the node that it is about.
 */
import { CHANGES_KEPT } from "../../api/member-schemas.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import {
  labelSerial,
  merged,
  NO_CHANGE,
  saysMore,
  subjectOf,
  type Change,
} from "../../trust/members/changes.ts";
import { openUnplaced } from "../../trust/members/identity.ts";
import { commit, put, unchanged, type Core } from "../records/core.ts";
import { keys } from "../records/keys.ts";
import type { Charters } from "./charters.ts";
import type { Nodes } from "./nodes.ts";

interface Placed {
  readonly change: Change;
  readonly revision: number;
}

export class Changes {
  readonly #core: Core;
  readonly #charters: Charters;
  readonly #nodes: Nodes;
  /** Oldest first. */
  #all: readonly Placed[] | undefined;

  constructor(core: Core, charters: Charters, nodes: Nodes) {
    this.#core = core;
    this.#charters = charters;
    this.#nodes = nodes;
    core.mirror.onChange((changed) => {
      if (changed.some(isChange)) this.#all = undefined;
    });
  }

  /** Of the newest change; 0: there is none. */
  get revision(): number {
    return this.#list().at(-1)?.revision ?? 0;
  }

  /** Those after a revision: the newest of them, oldest first. */
  after(revision: number): Change[] {
    const since = this.#list().filter((placed) => placed.revision > revision);
    return since.slice(-CHANGES_KEPT).map(({ change }) => change);
  }

  /**
   * Takes one that a node remembers. Of a node that is known here it is checked as if its operator had just sent it; of
   * one that is not, it is kept until that node comes. What is known already costs a look.
   * @throws SkeinError DOC_*, WRONG_CLUSTER, NODE_NOT_FOUND, NAME_TAKEN
   */
  async take(change: Change): Promise<void> {
    const node = subjectOf(change);
    if (node === undefined || this.#nodes.revoked(node)) return;
    if (this.#core.mirror.get(keys.node(node, "enrol")) === undefined) return await this.#hold(node, change);
    const { label, revoke } = change;
    // Who ended it may have had the right to by these labels alone.
    if (label !== null && labelSerial(change) > (this.#nodes.identity(node)?.serial ?? 0)) {
      const posted = this.#nodes.postLabel(label);
      await (revoke === null ? posted : posted.catch(passSkeinError));
    }
    if (revoke !== null) await this.#nodes.postRevocation(revoke);
  }

  #list(): readonly Placed[] {
    if (this.#all !== undefined) return this.#all;
    const { mirror } = this.#core;
    const placed: Placed[] = mirror
      .list(keys.changes)
      .map(({ value, modRevision }) => ({ change: value, revision: modRevision }));
    for (const node of this.#nodes.all()) {
      const label = mirror.entry(keys.node(node, "label"));
      const revoke = mirror.entry(keys.node(node, "revoke"));
      // A node that a ticket took the place of: whoever did so proves it by coming.
      const ended = revoke.value?.t === "revoke.1" ? revoke : { value: undefined, modRevision: 0 };
      if (label.value === undefined && ended.value === undefined) continue;
      placed.push({
        change: { label: label.value ?? null, revoke: ended.value ?? null },
        revision: Math.max(label.modRevision, ended.modRevision),
      });
    }
    return (this.#all = placed.sort((a, b) => a.revision - b.revision));
  }

  async #hold(node: KeyId, change: Change): Promise<void> {
    await this.#core.lanes.run("nodes", async () => {
      const key = keys.change(node);
      const { value: before = NO_CHANGE, modRevision } = this.#core.mirror.entry(key);
      if (!saysMore(change, before)) return;
      const { charter } = this.#charters.need();
      const now = this.#core.clock.now();
      if (change.label !== null) openUnplaced(charter, change.label, "label.1", now);
      if (change.revoke !== null) openUnplaced(charter, change.revoke, "revoke.1", now);
      await commit(this.#core, [unchanged(key, modRevision)], [put(key, merged(before, change))]);
    });
  }
}

export const isChange = (key: string): boolean =>
  key.startsWith(keys.changes) || key.endsWith("/revoke") || key.endsWith("/label");

function passSkeinError(err: unknown): void {
  if (!isSkeinError(err)) throw err;
}
