import { styleText } from "node:util";

/** Where a command prints, and how. Data goes to stdout, everything for people who wait to stderr. */
export interface Io {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** stderr is a terminal that may be redrawn. */
  readonly live: boolean;
  /** Columns of the terminal. */
  readonly columns: number;
  /** One line of result. Nothing in `--json`. */
  print(line: string): void;
  /** One line of progress. Nothing in `--json` or `--quiet`. */
  say(line: string): void;
  /** Straight to stderr, for errors and redrawing. */
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
    columns: stderr.columns ?? 80,
    print: (line) => {
      if (!json) stdout.write(`${line}\n`);
    },
    say: (line) => {
      if (!json && !quiet) stderr.write(`${line}\n`);
    },
    raw: (text) => {
      stderr.write(text);
    },
    event: (event) => {
      if (json) stdout.write(`${JSON.stringify(event)}\n`);
    },
    paint: (colour, text) => (coloured ? styleText(colour, text, { validateStream: false }) : text),
  };
}

/** Rows in columns as wide as their widest cell; the last column is left as it is. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
