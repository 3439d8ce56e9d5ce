/**
 * Commands for nodes that may be away: kept in the store until each node that they name has carried them out, or until
 * they expire. What a restarted hub had promised it still hands over.
 */
import type { CommandLine } from "../../api/schemas.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import type { Digest, KeyId } from "../../lib/text/ids.ts";
import type { Command } from "../../trust/document/documents.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import { msOf } from "../../trust/document/fields.ts";
import { commit, put, unchanged, type Core } from "../records/core.ts";
import { keys, type CommandRecord } from "../records/keys.ts";

/**
 * Kinds of commands that wait for absent nodes, and how many of an app and environment do. A node keeps three staged
 * releases of an app, so that older commands would be of no use to it.
 */
const LASTING: ReadonlyMap<string, number> = new Map([
  ["stage", 3],
  ["pin", 32],
]);

export interface Lasting {
  readonly digest: Digest;
  readonly command: Envelope;
  readonly expires: number;
  /** Nodes that have not carried it out. */
  readonly waiting: readonly KeyId[];
  /** How it ended on the others. */
  readonly ended: ReadonlyMap<KeyId, CommandLine>;
}

export const isLasting = (kind: string): boolean => LASTING.has(kind);

export class LastingCommands {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  /** What is still to be done, the oldest first. */
  all(): Lasting[] {
    const now = this.#core.clock.now();
    return this.#records()
      .filter(({ value }) => msOf(value.expires) > now)
      .map(({ key, value }) => {
        const digest = digestIn(key);
        const ends = this.#core.mirror.list(keys.commandEnds(digest));
        const over = new Set(ends.map((end) => nodeIn(end.key)));
        const waiting = value.nodes.filter((node) => !over.has(node));
        const ended = new Map(
          ends.flatMap((end) => (end.value === true ? [] : [[nodeIn(end.key), end.value] as const])),
        );
        return { digest, command: value.command, expires: msOf(value.expires), waiting, ended };
      });
  }

  /**
   * Durable when it resolves. Older ones for the same app and environment make way.
   * @returns those that were dropped
   */
  async keep(digest: Digest, command: Envelope, body: Command): Promise<Digest[]> {
    const { app, env, kind, nodes, issued, expires } = body;
    const record: CommandRecord = { command, app, env, kind, nodes, issued, expires };
    const key = keys.command(digest);
    await commit(this.#core, [unchanged(key, 0)], [put(key, record)]);
    faultPoint("hub.command-kept");
    return await this.#sweep(record);
  }

  /** The node has carried it out, or never will. @param line what whoever sends the command again is told of it */
  async ended(digest: Digest, node: KeyId, line: CommandLine): Promise<void> {
    const { mirror } = this.#core;
    const record = mirror.get(keys.command(digest));
    if (record === undefined) return;
    await commit(this.#core, [], [put(keys.commandEnd(digest, node), line)]);
    const ended = mirror.list(keys.commandEnds(digest)).length;
    if (ended >= record.nodes.length) await this.#forget(digest);
  }

  async #sweep(newest: CommandRecord): Promise<Digest[]> {
    const now = this.#core.clock.now();
    const records = this.#records();
    const same = records.filter(({ value }) => isForSame(value, newest)).reverse();
    const over = [
      ...same.slice(LASTING.get(newest.kind)),
      ...records.filter(({ value }) => msOf(value.expires) <= now),
    ];
    const dropped = [...new Set(over.map(({ key }) => digestIn(key)))];
    for (const digest of dropped) await this.#forget(digest);
    return dropped;
  }

  async #forget(digest: Digest): Promise<void> {
    await commit(this.#core, [], [{ op: "deletePrefix", prefix: `${keys.commands}${digest}/` }]);
  }

  #records() {
    const all = this.#core.mirror.list<CommandRecord>(keys.commands);
    return all
      .filter(({ key }) => key.endsWith("/command"))
      .sort((a, b) => msOf(a.value.issued) - msOf(b.value.issued));
  }
}

const isForSame = (a: CommandRecord, b: CommandRecord): boolean =>
  a.app === b.app && a.env === b.env && a.kind === b.kind;

const digestIn = (key: string): Digest => key.split("/")[2] as Digest;
const nodeIn = (key: string): KeyId => key.split("/")[4] as KeyId;
