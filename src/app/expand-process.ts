import { parseDurationMs } from "../lib/text/units.ts";
import { DEFAULTS } from "./defaults.ts";
import type { Check, Drain, Limits, Listen, Live, Process, Protocol, Ready, Restart } from "./manifest.ts";
import { invalid, type KeyPath, type Problem } from "./problem.ts";
import type {
  HealthInput,
  ListenFullInput,
  ListenInput,
  LiveInput,
  ProcessInput,
  ReadyInput,
} from "./schema.ts";

export type Report = (problem: Problem) => void;

/** Spells out one process; `at` is where it stands in the file, `top` the manifest's own health and where that stands. */
export function expandProcess(
  input: ProcessInput,
  at: KeyPath,
  topHealth: HealthInput | undefined,
  report: Report,
): Process {
  const listen = expandListen(input.listen, [...at, "listen"], report);
  const own = input.health !== undefined;
  const shared = Object.values(listen).some(isHttp) ? topHealth : undefined;
  const health = spelled(input.health ?? shared);
  const place = { listen, at: own ? [...at, "health"] : ["health"], report };
  const count = input.count ?? DEFAULTS.process.count;
  checkCount(count, listen, at, report);
  return {
    run: input.run,
    overlap: input.overlap ?? DEFAULTS.process.overlap,
    count,
    on: input.on ?? null,
    listen,
    ready: expandReady(health.ready, place),
    live: expandLive(health.live, place),
    drain: expandDrain(input.drain),
    restart: expandRestart(input.restart),
    limits: expandLimits(input.limits),
    after: input.after ?? [],
    uses: input.uses ?? [],
    env: input.env ?? {},
  };
}

const WEB: ReadonlySet<Protocol> = new Set(["http", "tls"]);
export const isHttp = (socket: Listen): boolean => WEB.has(socket.protocol);

/** What was given lies over what is likely; an absent key must not. */
function withoutUndefined<T extends object>(given: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

function checkCount(count: number, listen: Process["listen"], at: KeyPath, report: Report): void {
  if (count === 1) return;
  for (const [name, socket] of Object.entries(listen)) {
    if (socket.handover !== "gap") continue;
    report(
      invalid(
        [...at, "count"],
        `handover: gap of ${name} lets one instance own its port, so count must be 1`,
      ),
    );
  }
}

function expandListen(
  input: ListenInput | undefined,
  at: KeyPath,
  report: Report,
): Readonly<Record<string, Listen>> {
  if (input === undefined) return {};
  if (typeof input !== "object") return { http: expandSocket({ port: input }, at, report) };
  const sockets: Record<string, Listen> = {};
  for (const [name, value] of Object.entries(input)) {
    sockets[name] = expandSocket(typeof value === "object" ? value : { port: value }, [...at, name], report);
  }
  return sockets;
}

function expandSocket(input: ListenFullInput, at: KeyPath, report: Report): Listen {
  const auto = input.port === "auto" || (input.port === undefined && input.handover === "port");
  const likely = {
    protocol: input.path === undefined ? "http" : "unix",
    handover: auto ? "port" : "auto",
    ...DEFAULTS.listen,
  } as const;
  const { port, path = null, ...given } = input;
  const socket: Listen = {
    ...likely,
    ...withoutUndefined(given),
    port: typeof port === "number" ? port : null,
    path,
  };
  for (const message of socketProblems(socket, auto)) report(invalid(at, message));
  return socket;
}

function socketProblems(socket: Listen, auto: boolean): string[] {
  if (socket.protocol === "unix") {
    if (socket.path === null) return ["a unix socket needs its path, for example path: app.sock"];
    return socket.port !== null || auto ? ["a unix socket has a path and no port"] : [];
  }
  const problems: string[] = [];
  if (socket.path !== null) problems.push("path is for protocol: unix");
  if (auto && socket.handover !== "port") {
    problems.push(`port: auto gives each instance its own port, which handover: ${socket.handover} does not`);
  }
  if (!auto && socket.port === null) problems.push("a port is needed, for example port: 8080, or port: auto");
  if (socket.port !== null && socket.handover === "port") {
    problems.push("handover: port gives each instance its own port: write port: auto, or another handover");
  }
  return problems;
}

interface HealthPlace {
  readonly listen: Process["listen"];
  readonly at: KeyPath;
  readonly report: Report;
}

function spelled(input: HealthInput | undefined): { ready?: ReadyInput; live?: LiveInput } {
  if (input === undefined) return {};
  if (typeof input === "string") return { ready: { http: input } };
  return {
    ...(input.ready === undefined ? {} : { ready: input.ready }),
    ...(input.live === undefined ? {} : { live: input.live }),
  };
}

function expandReady(input: ReadyInput | undefined, place: HealthPlace): Ready {
  const full = typeof input === "string" ? { http: input } : (input ?? {});
  return {
    check: expandCheck(full, "ready", place),
    everyMs: full.every ?? DEFAULTS.ready.everyMs,
    passes: full.passes ?? DEFAULTS.ready.passes,
    withinMs: full.within ?? DEFAULTS.ready.withinMs,
    aliveMs: DEFAULTS.ready.aliveMs,
  };
}

function expandLive(input: LiveInput | undefined, place: HealthPlace): Live | null {
  if (input === undefined) return null;
  const full = typeof input === "string" ? { http: input } : input;
  const check = expandCheck(full, "live", place);
  if (check === null) {
    place.report(
      invalid([...place.at, "live"], "say what is checked: http: /up, tcp: true, or run: COMMAND"),
    );
    return null;
  }
  return { check, everyMs: full.every ?? DEFAULTS.live.everyMs, fails: full.fails ?? DEFAULTS.live.fails };
}

type CheckInput = Pick<Exclude<ReadyInput, string>, "http" | "tcp" | "run" | "socket">;

function expandCheck(input: CheckInput, key: "ready" | "live", place: HealthPlace): Check | null {
  const at = [...place.at, key];
  const kinds = (["http", "tcp", "run"] as const).filter((kind) => input[kind] !== undefined);
  if (kinds.length > 1) place.report(invalid(at, `one check at a time: ${kinds.join(" or ")}`));
  if (input.run !== undefined) return { type: "run", run: input.run };
  if (input.http === undefined && input.tcp === undefined) return null;
  const kind = input.http === undefined ? "tcp" : "http";
  const socket = socketFor(kind, input.socket, at, place);
  if (socket === undefined) return null;
  const tls = place.listen[socket]?.protocol === "tls";
  return input.http === undefined ? { type: "tcp", socket } : { type: "http", path: input.http, socket, tls };
}

function socketFor(
  kind: "http" | "tcp",
  wanted: string | undefined,
  at: KeyPath,
  place: HealthPlace,
): string | undefined {
  const names = Object.keys(place.listen);
  const reach = (name: string): boolean => place.listen[name]?.protocol !== "udp";
  const web = (name: string): boolean => WEB.has(place.listen[name]?.protocol ?? "udp");
  const found = wanted ?? (kind === "http" ? names.find(web) : undefined) ?? names.find(reach);
  if (found !== undefined && names.includes(found) && reach(found)) return found;
  place.report(invalid(at, whyNoSocket(kind, wanted, names)));
  return undefined;
}

function whyNoSocket(kind: string, wanted: string | undefined, names: readonly string[]): string {
  if (wanted !== undefined && !names.includes(wanted)) return `there is no socket ${wanted} in listen`;
  if (names.length > 0) return "a UDP socket can be checked by run: COMMAND only";
  return `the ${kind} check needs a socket in listen`;
}

function expandDrain(input: ProcessInput["drain"]): Drain {
  return {
    signal: input?.signal ?? DEFAULTS.drain.signal,
    windowMs: input?.window ?? DEFAULTS.drain.windowMs,
    withinMs: input?.within ?? DEFAULTS.drain.withinMs,
    now: input?.now ?? DEFAULTS.drain.now,
  };
}

function expandRestart(input: ProcessInput["restart"]): Restart {
  const [min, max] = input?.backoff?.split("..") ?? [];
  const [limit, within] = input?.limit?.split(" in ") ?? [];
  return {
    backoffMinMs: durationOr(min, DEFAULTS.restart.backoffMinMs),
    backoffMaxMs: durationOr(max, DEFAULTS.restart.backoffMaxMs),
    limit: limit === undefined ? DEFAULTS.restart.limit : Number(limit),
    limitWithinMs: durationOr(within, DEFAULTS.restart.limitWithinMs),
  };
}

function durationOr(text: string | undefined, fallback: number): number {
  return (text === undefined ? undefined : parseDurationMs(text)) ?? fallback;
}

function expandLimits(input: ProcessInput["limits"]): Limits {
  return {
    memoryBytes: input?.memory ?? null,
    cpu: input?.cpu ?? null,
    files: input?.files ?? null,
    pids: input?.pids ?? null,
  };
}
