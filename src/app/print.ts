import { formatDuration, formatSize } from "../lib/text/units.ts";
import {
  HOOK_NAMES,
  type Check,
  type Command,
  type Listen,
  type Manifest,
  type Process,
} from "./manifest.ts";

/** A manifest in its own words, in full: what `skein validate --full` prints. Parsing it gives the manifest back. */
export function manifestWords(manifest: Manifest): Record<string, unknown> {
  const { verify, keep } = manifest;
  return {
    skein: 1,
    app: manifest.app,
    kind: manifest.kind,
    build: known({ ...manifest.build, withinMs: null, within: formatDuration(manifest.build.withinMs) }),
    ...(manifest.version === null ? {} : { version: { run: command(manifest.version) } }),
    ...(manifest.kind === "files" ? {} : { processes: mapValues(manifest.processes, processWords) }),
    uses: manifest.uses,
    ...(verify === null
      ? {}
      : {
          verify: known({
            run: command(verify.run),
            within: formatDuration(verify.withinMs),
            threshold: verify.threshold,
          }),
        }),
    user: manifest.user,
    writable: manifest.writable,
    env: manifest.env,
    hooks: hookWords(manifest.hooks),
    strategy: strategyWords(manifest.strategy),
    beside: manifest.beside,
    ...(manifest.targets === null ? {} : { targets: manifest.targets }),
    keep: { releases: keep.releases, good: keep.good, free_disk: percent(keep.freeDisk) },
    ...(manifest.stageOnPush === null ? {} : { stage_on_push: manifest.stageOnPush }),
  };
}

function processWords(process: Process): Record<string, unknown> {
  const { ready, live, drain, restart, limits } = process;
  return known({
    run: command(process.run),
    overlap: process.overlap,
    count: process.count,
    on: process.on,
    listen: mapValues(process.listen, socketWords),
    health: known({
      ready: {
        ...checkWords(ready.check),
        every: formatDuration(ready.everyMs),
        passes: ready.passes,
        within: formatDuration(ready.withinMs),
      },
      live:
        live === null
          ? null
          : { ...checkWords(live.check), every: formatDuration(live.everyMs), fails: live.fails },
    }),
    drain: {
      signal: drain.signal,
      window: formatDuration(drain.windowMs),
      within: formatDuration(drain.withinMs),
      now: drain.now,
    },
    restart: {
      backoff: `${formatDuration(restart.backoffMinMs)}..${formatDuration(restart.backoffMaxMs)}`,
      limit: `${restart.limit} in ${formatDuration(restart.limitWithinMs)}`,
    },
    limits: known({
      memory: limits.memoryBytes === null ? null : formatSize(limits.memoryBytes),
      cpu: limits.cpu,
      files: limits.files,
      pids: limits.pids,
    }),
    after: process.after,
    uses: process.uses,
    env: process.env,
  });
}

function socketWords(socket: Listen): Record<string, unknown> {
  const unix = socket.protocol === "unix";
  return known({
    port: unix ? null : (socket.port ?? "auto"),
    path: socket.path,
    protocol: socket.protocol,
    handover: socket.handover,
    gate: socket.gate,
    backlog: socket.backlog,
  });
}

function checkWords(check: Check | null): Record<string, unknown> {
  if (check === null) return {};
  if (check.type === "run") return { run: command(check.run) };
  return check.type === "http"
    ? { http: check.path, socket: check.socket }
    : { tcp: true, socket: check.socket };
}

/** Without what only later versions fill. */
function strategyWords(strategy: Manifest["strategy"]): Record<string, unknown> {
  return {
    type: strategy.type,
    batch: strategy.batch,
    max_unavailable: strategy.maxUnavailable,
    max_absent: strategy.maxAbsent,
    max_failed: strategy.maxFailed,
    bake: formatDuration(strategy.bakeMs),
    on_failure: strategy.onFailure,
    spread: formatDuration(strategy.spreadMs),
  };
}

function hookWords(hooks: Manifest["hooks"]): Record<string, unknown> {
  return Object.fromEntries(
    HOOK_NAMES.flatMap((name) => {
      const hook = hooks[name];
      return hook === undefined ? [] : [[name, { run: hook.sh, within: formatDuration(hook.withinMs) }]];
    }),
  );
}

const command = (value: Command): unknown => ("sh" in value ? { sh: value.sh } : value.argv);

const percent = (share: number): string => `${Math.round(share * 1e6) / 1e4}%`;

/** Without what is null: in the manifest's words that is an absent key. */
function known(words: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(words).filter(([, value]) => value !== null));
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, turn: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, turn(value)]));
}
