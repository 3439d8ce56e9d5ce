import * as z from "zod";
import { parseDurationMs } from "../lib/text/units.ts";
import {
  amountOrNone,
  amount,
  appName,
  command,
  commandLine,
  duration,
  environment,
  innerPath,
  MOST_MS,
  partName,
  serviceName,
  someTime,
  selector,
  share,
  signalName,
  size,
} from "./words.ts";

/**
 * `skein.yaml` as people write it: strict keys, short forms allowed. One schema gives the check, the type and
 * docs/skein.schema.json. Keys that this version does not build are in `later-keys.ts`.
 */
const port = z.union([z.int().min(1).max(65_535), z.literal("auto")], {
  error: "write a port from 1 to 65535, or auto",
});

/** A count of something, within bounds. */
function whole(least: number, most?: number): z.ZodInt {
  const error = `write a whole number ${most === undefined ? `of at least ${least}` : `from ${least} to ${most}`}`;
  const number = z.int({ error }).min(least, error);
  return most === undefined ? number : number.max(most, error);
}

const listenFull = z.strictObject({
  port: port.optional(),
  path: innerPath.optional().meta({ description: "Of a unix socket, relative to the app's run folder." }),
  protocol: z.enum(["http", "tcp", "tls", "udp", "unix"]).optional(),
  handover: z.enum(["auto", "node", "socket", "port", "gap"]).optional(),
  gate: z.enum(["auto", "twice", "off"]).optional(),
  backlog: whole(1, 65_535).optional(),
});

/** Who writes a socket's keys where sockets are named would else get a socket named `port`. */
const socketName = partName.refine((name) => !Object.hasOwn(listenFull.shape, name), {
  error: "a socket's keys stand under its name: listen: { http: { port: 8080, handover: gap } }",
});

const listen = z
  .union([port, z.record(socketName, z.union([port, listenFull]))], {
    error: "write a port, or sockets by name: { http: { port: 8080 } }",
  })
  .meta({ description: "A port, or sockets by name: { http: { port: 8080 } }." });

const httpPath = z.string().startsWith("/", "write a path that starts with /, for example /up");

const check = {
  http: httpPath.optional().meta({ description: "GET this path; 200 to 399 is good." }),
  tcp: z.literal(true).optional(),
  run: command.optional(),
  socket: partName.optional().meta({ description: "Which of the listen sockets; default: the first." }),
};

const ready = z.union([
  httpPath,
  z.strictObject({
    ...check,
    every: someTime.optional(),
    passes: whole(1).optional(),
    within: someTime.optional(),
  }),
]);

const live = z.union([
  httpPath,
  z.strictObject({ ...check, every: someTime.optional(), fails: whole(1).optional() }),
]);

const health = z.union([httpPath, z.strictObject({ ready: ready.optional(), live: live.optional() })]);

const BACKOFF = "write the first and the longest wait, for example 1s..1m";
const LIMIT = "write how often in what time, for example 10 in 10m";
const DURATION_TEXT = String.raw`(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+`;

const restart = z.strictObject({
  backoff: z
    .string({ error: BACKOFF })
    .regex(new RegExp(String.raw`^${DURATION_TEXT}\.\.${DURATION_TEXT}$`), { error: BACKOFF, abort: true })
    .refine((text) => {
      const [first = 0, longest = 0] = text.split("..").map((part) => parseDurationMs(part));
      return first <= longest && longest <= MOST_MS;
    }, BACKOFF)
    .optional(),
  limit: z
    .string({ error: LIMIT })
    .regex(new RegExp(String.raw`^\d{1,6} in ${DURATION_TEXT}$`), { error: LIMIT, abort: true })
    .refine((text) => (parseDurationMs(text.split(" in ")[1] ?? "") ?? 0) <= MOST_MS, LIMIT)
    .optional(),
});

const uses = z
  .array(serviceName)
  .max(100)
  .meta({ description: "Services of other apps that may be looked up: app.process." });

const processFull = z.strictObject({
  run: command,
  overlap: z.boolean().optional(),
  count: whole(1, 1000).optional(),
  on: selector.optional().meta({ description: "Narrows `targets` for this process." }),
  listen: listen.optional(),
  health: health.optional(),
  drain: z
    .strictObject({
      signal: signalName.optional(),
      window: duration.optional(),
      within: duration.optional(),
      now: signalName.optional(),
    })
    .optional(),
  restart: restart.optional(),
  limits: z
    .strictObject({
      memory: size.optional(),
      cpu: z.number().positive("write a number above 0").optional(),
      files: whole(16).optional(),
      pids: whole(1).optional(),
    })
    .optional(),
  after: z.array(partName).optional(),
  uses: uses.optional(),
  env: environment.optional(),
});

const shellLine = z.string().min(1, "the command is empty");

const hook = z.union([shellLine, z.strictObject({ run: shellLine, within: someTime.optional() })]);

const strategy = z.strictObject({
  type: z.enum(["rolling", "all_at_once"]).optional(),
  batch: amount.optional(),
  max_unavailable: amount.optional(),
  max_absent: amountOrNone.optional(),
  max_failed: amountOrNone.optional(),
  bake: duration.optional(),
  on_failure: z.literal("undo").optional(),
  spread: duration.optional().meta({ description: "Without a hub, nodes start within this time." }),
});

const build = z.union([
  shellLine,
  z.strictObject({
    run: shellLine.optional(),
    test: shellLine.optional(),
    files: z.array(z.string().min(1)).min(1).optional(),
    on: z.literal("local").optional(),
    within: someTime.optional(),
  }),
]);

const verify = z.union([
  commandLine,
  z.strictObject({
    run: command,
    within: someTime.optional(),
    threshold: z.number().min(0).max(1).optional(),
  }),
]);

/** As git takes it, so that it can never be read as a flag or a range. */
const branchName = z
  .string()
  .max(255)
  .regex(
    /^(?![-/.])(?!.*(\.\.|\/\/|@\{|\.lock$|[/.]$))[^\s~^:?*[\\]+$/,
    "write the name of a branch, for example main",
  );

const base = {
  skein: z.literal(1).optional().meta({ description: "The format's version." }),
  app: appName.optional(),
  kind: z.enum(["service", "files"]).optional(),
  build: build.optional(),
  version: z.union([commandLine, z.strictObject({ run: command })]).optional(),
  run: command.optional().meta({ description: "Short for processes: { web: { run: ... } }." }),
  listen: listen.optional(),
  health: health.optional(),
  processes: z.record(partName, z.union([commandLine, processFull])).optional(),
  uses: uses.optional(),
  verify: verify.optional(),
  user: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]{0,31}$/, "write auto, or a user's name")
    .optional(),
  writable: z.array(innerPath).optional(),
  env: environment.optional(),
  hooks: z
    .strictObject({
      post_sync: hook.optional(),
      pre_jump: hook.optional(),
      un_jump: hook.optional(),
      post_jump: hook.optional(),
      pre_remove: hook.optional(),
    })
    .optional(),
  strategy: strategy.optional(),
  beside: z.union([whole(0, 1000), z.literal("all")], { error: "write a number, or all" }).optional(),
  targets: selector.optional(),
  stage_on_push: branchName
    .optional()
    .meta({ description: "A branch whose pushes are released and placed on the nodes at once." }),
  keep: z
    .strictObject({
      releases: whole(1).optional(),
      good: whole(1).optional(),
      free_disk: share.optional(),
    })
    .optional(),
};

/** One environment's view: what is left after its overlay was laid on. */
export const manifestSchema = z.strictObject(base);

/** The file: what stands in an environment is what may stand at the top, but for the app's name and kind. */
export const fileSchema = z.strictObject({
  ...base,
  environments: z
    .record(appName, z.record(z.string(), z.unknown()))
    .optional()
    .meta({ description: "By name: keys that are laid over the others by --env NAME." }),
});

export type ManifestInput = z.output<typeof manifestSchema>;
export type ProcessInput = z.output<typeof processFull>;
export type ListenInput = z.output<typeof listen>;
export type ListenFullInput = z.output<typeof listenFull>;
export type HealthInput = z.output<typeof health>;
export type ReadyInput = z.output<typeof ready>;
export type LiveInput = z.output<typeof live>;
