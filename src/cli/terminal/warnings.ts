import type { Log } from "../../lib/process/log.ts";
import type { Io } from "./io.ts";

/** Only what needs a look: a person sits in front. */
export function warningsOf(io: Io): Log {
  const log: Log = {
    info: () => undefined,
    warn: (msg, fields) => io.say(line(io.paint("yellow", "warning"), msg, fields)),
    error: (msg, fields) => io.say(line(io.paint("red", "error"), msg, fields)),
    with: () => log,
  };
  return log;
}

const line = (level: string, msg: string, fields: object = {}): string =>
  `${level} ${msg} ${JSON.stringify(fields)}`;
