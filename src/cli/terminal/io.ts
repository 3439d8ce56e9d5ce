import { styleText } from "node:util";
import { ACTS, escaped, shownJson } from "../../lib/text/json.ts";

/** How a command ends whose reader has gone, as shells tell of a program that SIGPIPE ended. */
export const READER_GONE = 128 + 13;

/** Where a command prints, and how. Data goes to stdout, everything for people who wait to stderr. */
export interface Io {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** stderr is a terminal that may be redrawn. */
  readonly live: boolean;
  /** Columns of the terminal, as wide as it is now. */
  readonly columns: number;
  readonly rows: number;
  /** One line of result. Nothing in `--json`. */
  print(line: string): void;
  /** One line of progress. Nothing in `--json` or `--quiet`. */
  say(line: string): void;
  /** Straight to stderr, for redrawing: whoever calls has made others' words harmless. */
  raw(text: string): void;
  /** One event of `--json`; nothing else. */
  event(event: object): void;
  readonly paint: Paint;
}

export type Colour = "red" | "green" | "yellow" | "cyan" | "dim" | "bold";
export type Paint = (colour: Colour, text: string) => string;

export interface IoOptions {
  readonly json?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly verbose?: boolean | undefined;
  /** Default: as the terminal and NO_COLOR say. */
  readonly color?: boolean | undefined;
}

export function processIo(options: IoOptions): Io {
  const { stdout, stderr } = process;
  const json = options.json === true;
  const quiet = options.quiet === true;
  const coloured = options.color !== false && stderr.isTTY && (process.env["NO_COLOR"] ?? "") === "";
  return {
    json,
    quiet,
    verbose: options.verbose === true,
    live: stderr.isTTY && !json && !quiet && process.env["TERM"] !== "dumb",
    // A terminal that does not know says 0.
    get columns() {
      return stderr.columns || 80;
    },
    get rows() {
      return stderr.rows || 24;
    },
    print: (line) => {
      if (!json) stdout.write(`${shown(line)}\n`);
    },
    say: (line) => {
      if (!json && !quiet) stderr.write(`${shown(line)}\n`);
    },
    raw: (text) => {
      stderr.write(text);
    },
    event: (event) => {
      if (json) stdout.write(`${shownJson(event)}\n`);
    },
    paint: (colour, text) => (coloured ? styleText(colour, text, { validateStream: false }) : text),
  };
}

/** Colours and weight; nothing that hides text. */
const STYLE = String.raw`\u001b\[(?:[0-4]|2[2-4]|3[0-79]|9[0-7])?m`;
const STYLE_OR_ACTS = new RegExp(`${STYLE}|${ACTS}`, "g");
const ALL_STYLES = new RegExp(STYLE, "g");
const ALL_ACTS = new RegExp(ACTS, "g");
const RESET = "\u001b[0m";
/** What a style sets, by its number: those that are one set the same, and the last of them sets it back. */
const ALIKE: readonly RegExp[] = [/^(?:39|[39][0-7])$/, /^(?:22|[12])$/, /^(?:23|3)$/, /^(?:24|4)$/];
const SETS_BACK: ReadonlySet<string> = new Set(["39", "22", "23", "24"]);

/** Others' words as they may be printed: they can be coloured, and not move, hide or change anything else. */
export function shown(text: string): string {
  const harmless = text.replaceAll(STYLE_OR_ACTS, (found) => (found.length > 1 ? found : escaped(found)));
  return leavesStyle(harmless) ? `${harmless}${RESET}` : harmless;
}

/** Whether what is printed next would be coloured by it, in the background's own colour perhaps. */
function leavesStyle(text: string): boolean {
  const on = new Set<number>();
  for (const [style] of text.matchAll(ALL_STYLES)) {
    const number = style.slice(2, -1);
    const kind = ALIKE.findIndex((numbers) => numbers.test(number));
    if (kind < 0) on.clear();
    else if (SETS_BACK.has(number)) on.delete(kind);
    else on.add(kind);
  }
  return on.size > 0;
}

/** The same on one line, without styles: for what is cut to a width and drawn in place. */
export function plain(text: string): string {
  return text.replaceAll(/[\t\r\n]+/g, " ").replaceAll(ALL_ACTS, "");
}

/** Whose words have a line of their own could else write another one, in somebody else's name. */
export const oneLine = (text: string): string => text.replaceAll(/[\r\n]+/g, " ");

/** Rows in columns as wide as their widest cell; the last column is left as it is. */
export function columns(given: readonly (readonly string[])[]): string[] {
  const rows = given.map((row) => row.map(oneLine));
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
