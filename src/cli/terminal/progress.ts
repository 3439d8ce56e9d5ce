import type { OperatorEvent, Tell } from "../../operator/tell/events.ts";
import { appAsTyped, shortRelease } from "../../lib/text/ids.ts";
import { formatBytes } from "../../lib/text/units.ts";
import { namesOf } from "../../operator/tell/names-of.ts";
import { board, type Board } from "./board.ts";
import type { Io } from "./io.ts";

/** Prints what a changing command tells. `end` before anything else is printed. */
export interface Progress {
  readonly tell: Tell;
  end(): void;
  /** Id of the order that was published, once there is one. */
  readonly order: { readonly digest: string; readonly app: string } | undefined;
}

export function progress(io: Io): Progress {
  let shown: Board | undefined;
  let order: { digest: string; app: string } | undefined;
  return {
    tell: (event) => {
      io.event(event);
      if (event.type === "order") order = { digest: event.order, app: event.app };
      if (event.type === "rollout") (shown ??= board(io)).show(event.view);
      else for (const line of linesOf(event, io)) io.say(line);
    },
    end: () => {
      shown?.end();
      shown = undefined;
    },
    get order() {
      return order;
    },
  };
}

type Lines = {
  [T in Exclude<OperatorEvent["type"], "rollout">]: (event: OperatorEvent & { type: T }, io: Io) => string[];
};

const LINES: Lines = {
  note: ({ text }) => [text],
  warning: ({ text }, io) => [`${io.paint("yellow", "note")} ${text}`],
  output: ({ line }, io) => [`${io.paint("dim", "|")} ${line}`],
  publishing: () => [],
  release: (event) => [releaseLine(event)],
  selection: (event) => selectionLines(event),
  staging: ({ node, stage, bytesDone, bytesTotal }, io) => {
    const share = bytesTotal === 0 ? "" : `  ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`;
    return [`${io.paint("dim", "|")} ${node}  ${stage}${share}`];
  },
  staged: () => [],
  order: (event, io) => [
    `order ${io.paint("bold", event.order.slice(0, 16))}  ${event.app}/${event.env} #${event.seq}  (Ctrl-C detaches; skein watch ${appAsTyped(event.app, event.env)})`,
  ],
};

function linesOf<T extends keyof Lines>(event: OperatorEvent & { type: T }, io: Io): string[] {
  return LINES[event.type](event, io);
}

function releaseLine(event: OperatorEvent & { type: "release" }): string {
  const commit = event.commit === null ? "" : `commit ${event.commit.slice(0, 12)}, `;
  const sent =
    event.already && event.storedBytes === 0 ? "published before" : `${formatBytes(event.storedBytes)} sent`;
  const size = `${event.files} file${event.files === 1 ? "" : "s"}, ${formatBytes(event.bytes)}`;
  return `release ${shortRelease(event.app, event.release)}  ${commit}${size}, ${sent}`;
}

function selectionLines(event: OperatorEvent & { type: "selection" }): string[] {
  const names = namesOf(event.nodes, " ");
  const where = event.implied
    ? `No selector was given, so this acts on ${event.nodes.length === 1 ? "the only node" : `all ${event.nodes.length} nodes`}: ${names}`
    : `nodes  ${event.selector}: ${names}`;
  return [where, ...(event.absent.length === 0 ? [] : [`absent  ${namesOf(event.absent, " ")}`])];
}
