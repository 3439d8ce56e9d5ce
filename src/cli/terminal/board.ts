import { LEFT, type RolloutNode, type RolloutView } from "../../api/schemas.ts";
import { shortRelease } from "../../lib/text/ids.ts";
import { formatBytes, sourcesText } from "../../lib/text/units.ts";
import { readReason } from "../../operator/order/follow.ts";
import { fitting } from "./fitting.ts";
import { columns, plain, type Colour, type Io } from "./io.ts";

/** Shows a rollout: redrawn on a terminal, a line for each change elsewhere. */
export interface Board {
  show(view: RolloutView): void;
  /** Leaves the last picture where it is. */
  end(): void;
}

/** Above this many nodes only counters and the nodes that differ are shown. */
const MANY = 20;
const WORST_SHOWN = 10;
const REDRAW_MS = 50;

export function board(io: Io): Board {
  return io.live ? liveBoard(io) : plainBoard(io);
}

function plainBoard(io: Io): Board {
  const said = new Map<string, string>();
  const once = (key: string, line: string): void => {
    if (said.get(key) === line) return;
    said.set(key, line);
    io.say(line);
  };
  return {
    show: (view) => {
      if (view.nodes.length > MANY) once("counters", counters(view));
      const shown = view.nodes.length > MANY ? worst(view.nodes) : view.nodes;
      for (const node of shown) once(node.node, `${node.name}  ${nodeText(node, false)}`);
      if (view.phase !== "running" && view.phase !== "pending")
        once("phase", `${releaseOf(view)}  ${view.phase}${view.phase === "baking" ? BAKING : ""}`);
    },
    end: () => undefined,
  };
}

function liveBoard(io: Io): Board {
  let drawn = 0;
  let latest: RolloutView | undefined;
  let timer: NodeJS.Timeout | undefined;
  const draw = (): void => {
    timer = undefined;
    if (latest === undefined) return;
    const lines = boardLines(latest, io);
    const up = drawn === 0 ? "" : `\x1b[${drawn}A`;
    io.raw(
      `${up}${lines.map((line) => `\x1b[2K${line}\n`).join("")}${"\x1b[2K\n".repeat(Math.max(0, drawn - lines.length))}`,
    );
    drawn = Math.max(lines.length, drawn);
  };
  return {
    show: (view) => {
      latest = view;
      timer ??= setTimeout(draw, REDRAW_MS);
    },
    end: () => {
      if (timer === undefined) return;
      clearTimeout(timer);
      draw();
    },
  };
}

/** The picture of a rollout as lines that fit the terminal: what wraps or scrolls away cannot be drawn over. */
export function boardLines(view: RolloutView, io: Pick<Io, "columns" | "rows" | "paint">): string[] {
  const width = Math.max(1, io.columns - 1);
  // Beside the head, and the line that the cursor is left on.
  const most = Math.max(1, io.rows - 2);
  const many = view.nodes.length > Math.min(MANY, most);
  const rows = (many ? worst(view.nodes) : view.nodes).map((node) => [
    `  ${node.name}`,
    nodeText(node, true),
  ]);
  const body = [...(many ? [`  ${counters(view)}`] : []), ...columns(rows)];
  return [headLine(view, io, width), ...body.slice(0, most).map((line) => fitting(line, width))];
}

function headLine(view: RolloutView, { paint }: Pick<Io, "paint">, width: number): string {
  let room = width;
  const piece = (colour: Colour | null, text: string): string => {
    const shown = text.slice(0, room);
    room -= shown.length;
    return colour === null || shown === "" ? shown : paint(colour, shown);
  };
  const { phase } = view;
  return [
    piece("bold", releaseOf(view)),
    piece(null, "  "),
    piece(phase === "ok" ? "green" : QUIET.has(phase) ? null : "red", phase),
    piece("dim", phase === "baking" ? BAKING : ""),
  ].join("");
}

const releaseOf = ({ app, release }: RolloutView): string => shortRelease(app, release);

const BAKING = "  (it serves, and is watched for the strategy's bake time)";

const QUIET: ReadonlySet<RolloutView["phase"]> = new Set(["pending", "running", "paused", "baking"]);

export function counters({ nodes }: Pick<RolloutView, "nodes">): string {
  const counts = new Map<string, number>();
  for (const node of nodes) {
    const waits = node.gate === "hold" && node.state !== LEFT;
    const word = node.verdict ?? (waits ? "waiting" : node.state);
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].map(([word, count]) => `${count} ${word}`).join(" · ");
}

const BADNESS: Readonly<Record<string, number>> = { refused: 3, failed: 3, undone: 2, ok: -1 };

/** Those that differ from the rest, worst first; those that are well are left to the counters. */
export function worst(nodes: readonly RolloutNode[]): RolloutNode[] {
  const bad = (node: RolloutNode): number => BADNESS[node.verdict ?? ""] ?? (node.gate === "hold" ? -1 : 0);
  return nodes
    .filter((node) => bad(node) >= 0)
    .toSorted((a, b) => bad(b) - bad(a))
    .slice(0, WORST_SHOWN);
}

/** Steps that nobody breaks off: what half a migration leaves behind, no step mends. */
const HOOKS: ReadonlySet<string> = new Set(["post-sync", "pre-jump", "un-jump", "post-jump"]);

/** A node's own words among ours. */
const nodeText = (node: RolloutNode, withBytes: boolean): string => plain(textOf(node, withBytes));

function textOf(node: RolloutNode, withBytes: boolean): string {
  if (node.verdict !== null) return verdictText(node);
  if (node.state === LEFT) return "left: it is not meant any more";
  if (!node.present) return "away";
  if (node.gate === "hold") return "waits for its batch";
  if (node.gate === "undo" && HOOKS.has(node.state))
    return `${node.state}  goes back when this hook has ended`;
  const bytes = withBytes ? bytesText(node) : "";
  return `${node.state}${bytes}${node.note === null ? "" : `  ${node.note}`}`;
}

function verdictText({ verdict, code, message, cut, sources }: RolloutNode): string {
  const reason = message === null ? null : readReason(message).reason;
  const why = [code, reason].filter((part) => part !== null).join(" ");
  const lost = cut === 0 ? "" : `  ${cut} connection${cut === 1 ? "" : "s"} cut`;
  const moved = verdict === "ok" ? sourcesText(sources) : "";
  return `${verdict ?? ""}${why === "" ? "" : `  ${why}`}${moved}${lost}`;
}

function bytesText({ bytesDone, bytesTotal, sources }: RolloutNode): string {
  if (bytesTotal === null || bytesTotal === 0 || bytesDone >= bytesTotal) return "";
  return `  ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}${sourcesText(sources)}`;
}
