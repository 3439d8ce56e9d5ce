import { shownJson } from "../text/json.ts";

/** One JSON record per event on stderr; the keys at, level and msg are always there. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** The same log with `fields` on every record. */
  with(fields: LogFields): Log;
}

export function jsonLog(write: (line: string) => void, fixed: LogFields = {}): Log {
  const at =
    (level: string) =>
    (msg: string, fields: LogFields = {}): void => {
      write(`${shownJson({ at: new Date().toISOString(), level, msg, ...fixed, ...fields })}\n`);
    };
  return {
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => jsonLog(write, { ...fixed, ...fields }),
  };
}

export const stderrLog: Log = jsonLog((line) => process.stderr.write(line));
export const silentLog: Log = jsonLog(() => undefined);
