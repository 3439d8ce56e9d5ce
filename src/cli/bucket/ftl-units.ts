import path from "node:path";
import { absoluteAddress } from "../../bucket/bucket.ts";
import { launcher, type Context, type Result } from "../command/context.ts";
import { nearOf, nearVariables, variablesOf } from "../command/traffic-flags.ts";
import { durationFlag, everyFlag } from "../command/grammar.ts";
import { first } from "../command/has-bucket.ts";
import { DEFAULT_WAIT, type SyncFlags } from "./ftl-flags.ts";
import { bucketAddress, pinHere, rootHere } from "./ftl-settings.ts";
import { commandWord, cronWord, environmentWord } from "../units/unit-words.ts";

/** Prints what runs `sync` on its own: a systemd unit and, for machines without, lines for boot and for cron. */
export async function print(context: Context, flags: SyncFlags): Promise<Result> {
  const root = rootHere(flags);
  const pin = await pinHere(context, root);
  const near = { ...nearVariables(process.env), ...flags };
  nearOf(near); // what a unit would fail with at boot is told now
  const settings = {
    SKEIN_BUCKET: absoluteAddress(bucketAddress(flags)),
    SKEIN_ROOT: root,
    ...(pin === null ? {} : { SKEIN_CHARTER: pin }),
    ...(context.globals.env === undefined ? {} : { SKEIN_ENV: context.env }),
    ...variablesOf(near),
    ...namedSettings(process.env),
  };
  const text = unitText(launcher(), settings, flags);
  context.io.print(text);
  return { text };
}

/** Where things are, and no secrets: those belong into a file that only root reads. */
const NAMED = ["REGION", "DEFAULT_REGION", "ENDPOINT_URL", "ENDPOINT_URL_S3", "S3_STYLE", "PROFILE"];
/** A unit runs in another folder than who prints it. */
const FILES = ["CA_BUNDLE", "CONFIG_FILE", "SHARED_CREDENTIALS_FILE"];

/** What of these variables a unit has to be told. */
export function namedSettings(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const both = (names: readonly string[]): string[] =>
    names.flatMap((name) => [`AWS_${name}`, `SKEIN_AWS_${name}`]);
  const said = (names: readonly string[], as: (value: string) => string) =>
    names.flatMap((name) => {
      const value = first(env[name]);
      return value === undefined ? [] : [[name, as(value)] as const];
    });
  const asItIs = (value: string): string => value;
  return Object.fromEntries([
    ...said(["SKEIN_HOME", ...both(FILES)], (file) => path.resolve(file)),
    ...said(both(NAMED), asItIs),
  ]);
}

/** Of `sync`'s flags those that say how. */
type Ways = Partial<Pick<SyncFlags, "every" | "maxAge" | "wait">>;

function wordsOf({ maxAge, wait }: Ways): string {
  for (const text of [maxAge, wait]) if (text !== undefined) durationFlag(text);
  return [
    ...(maxAge === undefined ? [] : ["--max-age", maxAge]),
    ...(wait === undefined || wait === DEFAULT_WAIT ? [] : ["--wait", wait]),
  ]
    .map((word) => ` ${word}`)
    .join("");
}

/** Lines NAME=VALUE, which systemd and a shell read alike. */
const CREDENTIALS = "/etc/skein/sync.env";

export function unitText(skein: string, settings: Readonly<Record<string, string>>, ways: Ways = {}): string {
  const words = wordsOf(ways);
  const every = ways.every ?? "30s";
  everyFlag(every);
  const entries = Object.entries(settings);
  const environment = entries
    .map(([name, value]) => `Environment=${environmentWord(name, value)}`)
    .join("\n");
  const inline = entries.map(([name, value]) => `${name}=${cronWord(value)}`).join(" ");
  const sync = `set -a; [ ! -r ${CREDENTIALS} ] || . ${CREDENTIALS}; ${inline} ${cronWord(skein)} ftl sync --quiet${words}`;
  return `# /etc/systemd/system/skein-sync.service
[Unit]
Description=Skein sync: brings packages to what the bucket says
After=network-online.target
Wants=network-online.target

[Service]
${environment}
# Credentials, where the machine has no role of its own: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, readable by root.
EnvironmentFile=-${CREDENTIALS}
ExecStart=${commandWord(skein)} ftl sync --every ${every}${words}
Restart=always
RestartSec=5
OOMPolicy=continue

[Install]
WantedBy=multi-user.target

# Without systemd, in /etc/cron.d/skein (the first line catches up at boot; credentials come from the same file):
@reboot      root  ${sync}
*/5 * * * *  root  ${sync}`;
}
