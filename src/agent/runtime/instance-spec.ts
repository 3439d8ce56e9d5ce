import { createHash, randomBytes } from "node:crypto";
import path from "node:path";
import type { Listen } from "../../app/manifest.ts";
import type { InstanceSpec, SocketSpec } from "../../keeper/protocol.ts";
import { loopbackHost } from "../../lib/process/loopback.ts";
import { transportOf, type SocketAddress } from "./address.ts";
import { instanceEnvironment } from "./environment.ts";
import { argvOf, instanceKey, instanceName, type ProcessPlan, type ReleasePlan } from "./release-plan.ts";
import type { Style } from "./handover-style.ts";

const LOG_BYTES = 10 * 2 ** 20;
const LOG_FILES = 5;

/** Where this node's instances live. */
export interface Place {
  readonly run: string;
  readonly logs: string;
  /** What sockets bind to. */
  readonly bind: string;
  /** What others are told. */
  readonly address: () => string;
  readonly node: string;
  /** The preload file of mode `node`, readable by every app's user. */
  readonly preload: string;
}

/** A private start is judged and known to nobody; a public one serves. */
export type Phase = "private" | "public";

/** What the notes on an instance say: enough to know it again after the agent's death. */
export interface InstanceMeta {
  readonly app: string;
  readonly environment: string;
  readonly release: string;
  readonly generation: number;
  readonly commit: string | null;
  readonly process: string;
  readonly index: number;
  /** Services of other apps that it may look up; absent in the notes of older agents. */
  readonly uses?: readonly string[];
  readonly phase: Phase;
  readonly style: Style;
  /** Where it is reached in this phase. */
  readonly sockets: readonly SocketAddress[];
  /** Keys of its public held sockets, by name. */
  readonly held: Readonly<Record<string, string>>;
  /** Where this very instance answers checks, apart from any other on its public sockets as far as can be. */
  readonly checked: readonly SocketAddress[];
  /** What other machines are told once it serves. */
  readonly told: readonly SocketAddress[];
  /** Bytes that its log held when it was started; absent in the notes of older agents. */
  readonly logFrom?: number;
}

/** Whose a public socket is; undefined of a private one. */
export const appOfSocket = (key: string): string | undefined => /^([^|]+)\|(?:tcp|udp|unix)\|/.exec(key)?.[1];

export function publicSocket(app: string, listen: Listen, place: Place): SocketSpec {
  const protocol = transportOf(listen);
  const file = listen.path === null ? null : path.join(place.run, app, listen.path);
  const port = listen.port ?? 0;
  const where = file ?? `${place.bind}:${port}`;
  return {
    key: `${app}|${protocol}|${where}`,
    protocol,
    host: place.bind,
    port,
    path: file,
    backlog: listen.backlog,
  };
}

/** A socket that only the judging agent knows, on this machine's own address. */
export function privateSocket(key: string, name: string, listen: Listen, place: Place): SocketSpec {
  const protocol = transportOf(listen);
  const file = `${createHash("sha256").update(`${key}\0${name}`).digest("hex").slice(0, 12)}.sock`;
  return {
    key: `private|${key}|${name}`,
    protocol,
    host: privateHost(place.bind),
    port: 0,
    path: protocol === "unix" ? path.join(place.run, "private", file) : null,
    backlog: 128,
    unimportant: true,
  };
}

function privateHost(bind: string): string {
  return bind.startsWith("127.") || bind === "::1" ? bind : loopbackHost();
}

export interface SpecInput {
  readonly plan: ReleasePlan;
  readonly process: ProcessPlan;
  readonly index: number;
  readonly place: Place;
  readonly phase: Phase;
  readonly style: Style;
  /** As the instance is to see them: its environment's PORT and HOST come from here. */
  readonly seen: readonly SocketAddress[];
  /** As callers reach them in this phase. */
  readonly reached: readonly SocketAddress[];
  /** As checks reach this instance and no other, where that can be. */
  readonly checked: readonly SocketAddress[];
  /** As other machines reach them once it serves. */
  readonly told: readonly SocketAddress[];
  /** Held sockets that are passed, in order, by name. */
  readonly passed: readonly { readonly name: string; readonly key: string }[];
  /** For style `node`: the private twins of `passed`. */
  readonly probes: readonly string[];
  readonly held: Readonly<Record<string, string>>;
  /** Serves from the start. */
  readonly attached: boolean;
  /** Bytes that its log holds now. */
  readonly logFrom: number;
}

/** @param instance `web.1` */
export const logFileOf = ({ logs }: Pick<Place, "logs">, app: string, instance: string): string =>
  path.join(logs, app, `${instance}.log`);

export function instanceSpec(input: SpecInput): InstanceSpec {
  const { plan, process, index, place, style } = input;
  const key = instanceKey(plan, process.name, index);
  const passed = input.passed.map((socket) => socket.name);
  const base = instanceEnvironment({ plan, process, index, node: place.node, sockets: input.seen, passed });
  const env = {
    ...base,
    ...(style === "node" ? preloadEnvironment(input, base) : {}),
    SKEIN_KEY: `${key}:${randomBytes(8).toString("hex")}`,
  };
  const { drain } = process;
  return {
    key,
    meta: { json: JSON.stringify(metaOf(input)) },
    argv: argvOf(process.run, env),
    env,
    cwd: plan.dir,
    user: plan.user === null ? null : { uid: plan.user.uid, gid: plan.user.gid },
    sockets: [...input.passed.map((socket) => socket.key), ...input.probes],
    gate: style === "node",
    log: {
      file: logFileOf(place, plan.app, instanceName(process.name, index)),
      maxBytes: LOG_BYTES,
      keep: LOG_FILES,
    },
    limits: process.limits,
    restart: process.restart,
    stop: {
      signal: `SIG${drain.signal}`,
      windowMs: drain.windowMs,
      withinMs: drain.withinMs,
      now: `SIG${drain.now}`,
    },
    attached: input.attached,
  };
}

function metaOf(input: SpecInput): InstanceMeta {
  const { plan, process, index, phase, style, reached, held } = input;
  return {
    app: plan.app,
    environment: plan.environment,
    release: plan.release,
    generation: plan.generation,
    commit: plan.commit,
    process: process.name,
    index,
    uses: process.uses,
    phase,
    style,
    sockets: reached,
    held,
    checked: input.checked,
    told: input.told,
    logFrom: input.logFrom,
  };
}

/** The preload's plan and how it gets into every Node of the instance. A cluster's primary would drop what it
 * accepted for workers that drain, so workers accept by themselves. */
function preloadEnvironment(input: SpecInput, env: Readonly<Record<string, string>>): Record<string, string> {
  const { passed, probes, process, place } = input;
  const sockets = passed.map(({ name }, n) => {
    const { protocol, host, port, path } = input.seen.find((socket) => socket.name === name) ?? {};
    const fd = 3 + n;
    return { name, protocol, host, port, path, fd, probe: fd + passed.length, given: fd };
  });
  const gate = 3 + passed.length + probes.length;
  const handover = {
    sockets,
    gate,
    status: gate + 1,
    windowMs: process.drain.windowMs,
    signal: `SIG${process.drain.signal}`,
  };
  const quoted = /[\s"\\]/.test(place.preload) ? JSON.stringify(place.preload) : place.preload;
  return {
    NODE_CLUSTER_SCHED_POLICY: env["NODE_CLUSTER_SCHED_POLICY"] ?? "none",
    NODE_OPTIONS: [`--require=${quoted}`, env["NODE_OPTIONS"] ?? ""].join(" ").trim(),
    SKEIN_HANDOVER: JSON.stringify(handover),
  };
}

export function metaOfSpec(spec: InstanceSpec): InstanceMeta | undefined {
  const text = spec.meta["json"];
  return text === undefined ? undefined : (JSON.parse(text) as InstanceMeta);
}
