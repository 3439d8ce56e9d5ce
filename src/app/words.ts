import * as z from "zod";
import { parseDurationMs, parseSizeBytes } from "../lib/text/units.ts";
import { isSelector } from "../trust/document/selector.ts";
import { CommandError, splitCommand } from "./command.ts";
import type { Command } from "./manifest.ts";

/** The scalar words of the manifest: text in, checked values out. Messages complete the sentence "KEY: ...". */
const DURATION = /^(\d+(\.\d+)?(ms|s|m|h|d|w))+$/;

/** Documents count whole milliseconds, and nobody waits for ten years. */
const MOST_DAYS = 3650;
export const MOST_MS = MOST_DAYS * 86_400_000;

const UNIT_HINT = "write a duration with its unit, for example 30s, 500ms or 1m30s";

export const duration = z
  .string({ error: UNIT_HINT })
  .regex(DURATION, UNIT_HINT)
  .transform((text) => parseDurationMs(text) ?? 0)
  .refine((ms) => ms <= MOST_MS, `write at most ${MOST_DAYS}d`)
  .meta({ description: "A duration with its unit: 500ms, 30s, 1m30s, 2h." });

/** One within which something can happen. */
export const someTime = duration
  .refine((ms) => ms > 0, "write more than 0s")
  .meta({ description: "A duration with its unit, more than 0s: 500ms, 30s, 1m30s, 2h." });

const SIZE_HINT = "write a size with its unit, for example 512MiB or 1GB";

export const size = z
  .string({ error: SIZE_HINT })
  .regex(/^\d+(\.\d+)?(B|KB|MB|GB|KiB|MiB|GiB|TiB)$/, SIZE_HINT)
  .transform((text) => parseSizeBytes(text) ?? 0)
  .refine((bytes) => bytes > 0 && Number.isSafeInteger(bytes), SIZE_HINT);

const PERCENT = /^(100(\.0{1,3})?|[1-9]?\d(\.\d{1,3})?)%$/;

const AMOUNT_HINT = "write a number of nodes, or a share such as 25%";

const amountFrom = (least: number): z.ZodUnion<[z.ZodInt, z.ZodString]> =>
  z.union([z.int().min(least), z.string().regex(PERCENT, AMOUNT_HINT)], {
    error: least === 0 ? AMOUNT_HINT : `${AMOUNT_HINT}; at least ${least}`,
  });

export const amount = amountFrom(1);
export const amountOrNone = amountFrom(0);

const SHARE_HINT = "write a share such as 10%";

/** A share as a number from 0 to 1. */
export const share = z
  .string({ error: SHARE_HINT })
  .regex(PERCENT, SHARE_HINT)
  .transform((text) => Number(text.slice(0, -1)) / 100);

export const appName = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,38}$/,
    "write a name of a-z, 0-9 and -, at most 39 long, that starts with a letter",
  );

/** Names of processes and sockets: they become parts of file names and environment variables. */
export const partName = z
  .string()
  .regex(
    /^[a-z][a-z0-9_-]{0,30}$/,
    "write a name of a-z, 0-9, - and _, at most 31 long, that starts with a letter",
  );

const SERVICE = /^[a-z][a-z0-9-]{0,38}(\.[a-z][a-z0-9_-]{0,30}){1,2}$/;

/** A service of another app: `app.process`, or `app.process.socket` for any but the first socket. */
export const serviceName = z
  .string()
  .regex(SERVICE, { error: ({ input }) => whyNoService(String(input)) })
  .meta({ description: "A service of another app: app.process." });

function whyNoService(text: string): string {
  const hint = "write a service of another app as app.process";
  const likely = text
    .trim()
    .toLowerCase()
    .replaceAll(/[/:@]+/g, ".");
  if (SERVICE.test(likely)) return `${hint}: did you mean ${likely}?`;
  const whole = `${likely}.web`;
  return `${hint}, for example ${SERVICE.test(whole) ? whole : "billing.http"}`;
}

const EMPTY = "the command is empty";

const lineOf = (shellOf: (line: string) => string): z.ZodType<Command, string> =>
  z.string().transform((line, context): Command => {
    try {
      const split = splitCommand(line, shellOf(line));
      if ("argv" in split && split.argv[0] === "") throw new CommandError(EMPTY);
      return split;
    } catch (err) {
      if (!(err instanceof CommandError)) throw err;
      context.addIssue({ code: "custom", message: err.message });
      return z.NEVER;
    }
  });

const inShell = (line: string): string => `{ sh: ${JSON.stringify(line)} }`;

/** A command written as one line, in the place of `{ run: ... }`. */
export const commandLine = lineOf((line) => `{ run: ${inShell(line)} }`);

export const command = z.union(
  [
    lineOf(inShell),
    z
      .array(z.string())
      .refine(([program = ""]) => program !== "", EMPTY)
      .transform((argv): Command => ({ argv })),
    z.strictObject({ sh: z.string().min(1) }),
  ],
  { error: 'write a command line, a list of arguments, or { sh: "..." }' },
);

const SIGNALS = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "KILL"] as const;

export const signalName = z.enum(SIGNALS);

export const environment = z.record(
  z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "write a variable's name of letters, digits and _")
    .refine((name) => !name.startsWith("SKEIN_"), "names that start with SKEIN_ are set by Skein itself"),
  z
    .union([z.string(), z.number(), z.boolean()], { error: "write text, a number, true or false" })
    .transform(String),
);

const INNER_HINT = "write a relative path such as tmp/cache, without . or .., and no / at its ends";

/** A path inside the release, without `.` and `..`. */
export const innerPath = z
  .string()
  .regex(/^(?!\/)(?!.*\/\/)[^\0\\]+$/, { error: INNER_HINT, abort: true })
  .refine(
    (path) => !path.split("/").some((part) => part === "." || part === ".." || part === ""),
    INNER_HINT,
  );

export const selector = z
  .string()
  .max(1024)
  .refine(isSelector, "write a selector, for example role=web & env!=prod, or all");
