import { placesArgument, type LogPlace } from "../../api/log-places.ts";
import { isPassingEnd } from "../../api/passing.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { retryDelayMs } from "../../lib/time/retry.ts";
import type { KnownNode } from "../nodes/nodes.ts";
import type { Operator } from "../identity/operator.ts";
import { namesOf } from "../tell/names-of.ts";
import { numberOf, runCommand, wordOf, type CommandWish, type NamedLine } from "./commands.ts";

const BACKOFF = { baseMs: 200, maxMs: 5000, random: Math.random } as const;

/**
 * What an app prints on nodes, which end one by one. Who follows it goes on where it was when the hub was away
 * meanwhile, with all that was printed by then.
 * @param options.onAway told each time the hub is missed
 * @throws SkeinError as `runCommand`; HUB_UNREACHABLE where nobody follows
 */
export async function* followLogs(
  operator: Operator,
  wish: CommandWish,
  options: { readonly signal: AbortSignal; readonly onAway: () => void },
): AsyncGenerator<NamedLine, void> {
  const { signal, onAway } = options;
  const isFollowed = wish.args["follow"] === true;
  const read = new ReadLogs();
  let left = wish.nodes;
  for (let failures = 0; left.length > 0;) {
    const ended = new Set<KeyId>();
    const args = isFollowed ? { ...wish.args, places: true, ...read.goingOn } : wish.args;
    try {
      for await (const line of runCommand(operator, { ...wish, args, nodes: left }, signal)) {
        failures = 0;
        if (line.type === "result") ended.add(line.node);
        if (read.take(line)) yield line;
      }
    } catch (err) {
      if (!isFollowed || !isPassingEnd(err, signal)) throw err;
    }
    signal.throwIfAborted();
    left = left.filter(({ identity }) => !ended.has(identity.node));
    if (left.length === 0) return;
    if (!isFollowed) throw cutOff(operator, left);
    if (failures === 0) onAway();
    failures += 1;
    await operator.clock.sleep(retryDelayMs(failures, BACKOFF), signal);
  }
}

const cutOff = ({ client }: Operator, left: readonly KnownNode[]): SkeinError => {
  const names = namesOf(left.map(({ identity }) => identity.name));
  return new SkeinError("HUB_UNREACHABLE", `${client.name} ended before all was said by ${names}`);
};

/** How far each instance's log was read. */
class ReadLogs {
  readonly #places = new Map<KeyId, Map<string, LogPlace>>();
  #hasRead = false;

  /** Nothing before anything was read. A node that tells of no places, as older ones do, goes on from now. */
  get goingOn(): CommandWish["args"] {
    return this.#hasRead ? { lines: 0, after: placesArgument(this.#places) } : {};
  }

  /** @returns whether it is anything but a place */
  take(line: NamedLine): boolean {
    this.#hasRead = true;
    const instance = wordOf(line, "instance");
    const places = this.#places.get(line.node) ?? new Map<string, LogPlace>();
    if (line.type === "at") {
      this.#places.set(line.node, places.set(instance, { at: numberOf(line, "at"), lines: 0 }));
      return false;
    }
    const { at, lines } = places.get(instance) ?? { at: 0, lines: 0 };
    if (line.type === "line" && places.has(instance)) places.set(instance, { at, lines: lines + 1 });
    return true;
  }
}
