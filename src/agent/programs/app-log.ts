import fs from "node:fs";
import path from "node:path";

const MAX_BYTES = 4 * 2 ** 20;

/** What a release's hooks and verifications said: `<log>/<app>/hooks.log`, and `hooks.log.1` before it. */
export interface AppLog {
  line(text: string): void;
}

/** Lines are dated and appended at once, by one short synchronous write each: order and completeness beat speed here. */
export function appLog(logDir: string, app: string, also?: (text: string) => void): AppLog {
  const dir = path.join(logDir, app);
  const file = path.join(dir, "hooks.log");
  fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
  let size = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  return {
    line(text) {
      const line = `${new Date().toISOString()} ${text}\n`;
      if (size + line.length > MAX_BYTES) {
        fs.renameSync(file, `${file}.1`);
        size = 0;
      }
      fs.appendFileSync(file, line, { mode: 0o640 });
      size += line.length;
      also?.(text);
    },
  };
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
