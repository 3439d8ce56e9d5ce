import fs from "node:fs";
import path from "node:path";

const MAX_BYTES = 4 * 2 ** 20;

/** Under which word what hooks said is asked for; a process may be called so, too, and its instances are `hooks.1` ... */
export const HOOKS_LOG = "hooks";

/** What a release's hooks and verifications said: `<log>/<app>/hooks.log`, and `hooks.log.1` before it. */
export interface AppLog {
  line(text: string): void;
}

/**
 * Lines are dated and appended at once, by one short synchronous write each: order and completeness beat speed here.
 * What the disk does not take is counted, and told of by the next line that it takes: no hook fails for its log.
 */
export function appLog(logDir: string, app: string, also?: (text: string) => void): AppLog {
  const file = path.join(logDir, app, `${HOOKS_LOG}.log`);
  let size: number | undefined;
  let lost = 0;
  const append = (text: string): void => {
    const line = Buffer.from(`${new Date().toISOString()} ${text}\n`);
    size ??= sizeOf(file);
    if (size + line.length > MAX_BYTES) {
      fs.renameSync(file, `${file}.1`);
      size = 0;
    }
    fs.appendFileSync(file, line, { mode: 0o640 });
    size += line.length;
  };
  return {
    line(text) {
      try {
        if (lost > 0) append(`(lines that could not be written: ${lost})`);
        lost = 0;
        append(text);
      } catch {
        lost += 1;
        size = undefined;
      }
      also?.(text);
    },
  };
}

/** Makes its folder. */
function sizeOf(file: string): number {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o750 });
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** One log per app, opened when it is first asked for. */
export function appLogs(logDir: string): (app: string) => AppLog {
  const logs = new Map<string, AppLog>();
  return (app) => {
    const known = logs.get(app) ?? appLog(logDir, app);
    logs.set(app, known);
    return known;
  };
}
