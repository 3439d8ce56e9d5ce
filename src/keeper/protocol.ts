import type { WireError } from "../lib/errors/errors.ts";

/**
 * The keeper's protocol: JSON lines over the unix socket `<run>/keeper.sock` (mode 0600), one object a line.
 *
 *   client -> keeper   {"id": 1, "op": "start", ...}        `id` is the client's, answers carry it
 *   keeper -> client   {"id": 1, "ok": {...}}  or  {"id": 1, "error": {code, message, hint, data}}
 *   keeper -> client   {"event": {...}}                     after the op `events`, until the connection ends
 *
 * A keeper outlives agents of other versions, so: ops and fields are only ever added, unknown fields are ignored,
 * an unknown op is answered with KEEPER_PROTOCOL, and `hello` tells both sides' version. A line to the
 * keeper has at most 1 MiB; one from it has what all instances and notes of a node take (`list`).
 */
export const PROTOCOL_VERSION = 1;
export const LINE_LIMIT_BYTES = 1 << 20;

/** A socket that the keeper binds, listens on and holds until `unlisten`. */
export interface SocketSpec {
  /** Unique on this keeper. Asking again with the same address is answered with the held one. */
  readonly key: string;
  readonly protocol: "tcp" | "udp" | "unix";
  /** Numeric address. Ignored for unix. */
  readonly host: string;
  /** 0: any free one. Ignored for unix. */
  readonly port: number;
  /** Of a unix socket, else null. A leftover file in its place is removed. */
  readonly path: string | null;
  /** Connections that may wait in the queue. */
  readonly backlog: number;
  /** Nobody need be told when it is lost. */
  readonly unimportant?: boolean;
}

export interface SocketView extends SocketSpec {
  /** Descriptor in the keeper's own table; others copy it with pidfd_getfd. */
  readonly fd: number;
  /** `socket:[inode]`: how /proc names it in every process that holds it. */
  readonly inode: number;
}

export interface LimitsSpec {
  readonly memoryBytes: number | null;
  /** Cores. */
  readonly cpu: number | null;
  readonly files: number | null;
  readonly pids: number | null;
}

export interface RestartSpec {
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** More crashes than this within `limitWithinMs` leave it stopped. */
  readonly limit: number;
  readonly limitWithinMs: number;
}

export interface StopSpec {
  /** A connection that ends with the process sooner than this after the signal counts as cut. */
  readonly windowMs: number;
  /** Names with SIG. */
  readonly signal: string;
  readonly withinMs: number;
  readonly now: string;
}

export interface InstanceSpec {
  /** Unique on this keeper, [A-Za-z0-9@._#/-]+. */
  readonly key: string;
  /** The client's own notes; kept and given back, never read. */
  readonly meta: Readonly<Record<string, string>>;
  readonly argv: readonly string[];
  /** The whole environment, LISTEN_PID aside, which only the started process can know. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** null: the keeper's own user. */
  readonly user: { readonly uid: number; readonly gid: number } | null;
  /** Keys of held sockets, passed as fd 3, 4, ... in this order. */
  readonly sockets: readonly string[];
  /**
   * After the sockets come two more descriptors: a file that says `wait` until `attach` makes it `go`, and a pipe
   * on which the process tells its status in lines. For the preload of mode `node`.
   */
  readonly gate: boolean;
  readonly log: { readonly file: string; readonly maxBytes: number; readonly keep: number };
  readonly limits: LimitsSpec;
  /** What happens after a crash once it was attached; null: nothing. */
  readonly restart: RestartSpec | null;
  readonly stop: StopSpec;
  /** Whether it serves from the start, as `attach` would make it. */
  readonly attached: boolean;
}

/**
 * `running`, `stopping` (told to end), `waiting` (crashed, restart due), `stopped` (by request), `exited` (by itself,
 * no restart wanted), `failed` (restart limit reached or not startable).
 */
export type InstanceState = "running" | "stopping" | "waiting" | "stopped" | "exited" | "failed";

export interface InstanceView {
  readonly spec: InstanceSpec;
  readonly state: InstanceState;
  readonly attached: boolean;
  /** 0 when there is no process. It leads its own process group. */
  readonly pid: number;
  /** RFC 3339; of the present state. */
  readonly since: string;
  /** Crashes since it was started by request. */
  readonly crashes: number;
  /** How the process before this one ended, or the last one; null while the first runs, code and signal null when unknown (adopted). */
  readonly exit: ExitView | null;
  /** Lines that the process wrote to its status pipe, newest last, at most 20. */
  readonly status: readonly string[];
  /** Limits asked for that this machine could not set. */
  readonly unenforced: readonly string[];
}

export interface ExitView {
  readonly code: number | null;
  readonly signal: string | null;
  readonly at: string;
}

export interface StopResult {
  /** Established connections that ended with the process instead of by it. */
  readonly cut: number;
  /** Whether the group was killed because its time ran out. */
  readonly forced: boolean;
  readonly exit: ExitView | null;
  readonly ms: number;
}

export interface Hello {
  readonly version: number;
  readonly pid: number;
  /** Whether listen(2) and pidfd_getfd can be called here. */
  readonly ffi: boolean;
  readonly startedAt: string;
  /** What an earlier keeper held and this one could not take over, in sentences. */
  readonly lost: readonly string[];
  /** Instances taken over from an earlier keeper. */
  readonly adopted: readonly string[];
}

export type KeeperEvent =
  | { readonly type: "started"; readonly key: string; readonly pid: number }
  | {
      readonly type: "exited";
      readonly key: string;
      readonly pid: number;
      readonly exit: ExitView;
      readonly state: InstanceState;
      /** null: it is not started again. */
      readonly restartInMs: number | null;
    }
  /** It was asked to stop, and its whole process group has ended. */
  | { readonly type: "stopped"; readonly key: string }
  | { readonly type: "status"; readonly key: string; readonly line: string };

/** Each op: what it takes and what it gives. */
interface Ops {
  hello: [{ readonly version: number }, Hello];
  /** @throws PORT_TAKEN, HANDOVER_REFUSED where listen(2) cannot be called */
  listen: [{ readonly socket: SocketSpec }, SocketView];
  unlisten: [{ readonly key: string }, Record<string, never>];
  /** A port of 20000-29999 that is free on `host`, locked for all keepers of this machine until `unlockPort`. */
  lockPort: [
    { readonly host: string; readonly key: string; readonly avoid: readonly number[] },
    { port: number },
  ];
  unlockPort: [{ readonly key: string }, Record<string, never>];
  /** @throws START_FAILED, USER_REFUSED. A finished instance of the same key is replaced, a running one is CONFLICT. */
  start: [{ readonly instance: InstanceSpec }, InstanceView];
  /** Starts a finished instance again as it was. */
  again: [{ readonly key: string }, InstanceView];
  /** Opens the gate and turns restarts on. */
  attach: [{ readonly key: string }, InstanceView];
  signal: [{ readonly key: string; readonly signal: string }, Record<string, never>];
  /** Signals the whole group, waits for the whole group, kills it when its time is up. Idempotent. */
  stop: [{ readonly key: string; readonly withinMs?: number }, StopResult];
  /** Forgets a finished instance. */
  forget: [{ readonly key: string }, Record<string, never>];
  list: [
    Record<string, never>,
    {
      readonly instances: readonly InstanceView[];
      readonly sockets: readonly SocketView[];
      readonly notes: Readonly<Record<string, string>>;
    },
  ];
  /** Keeps a small text for the agent, also over the keeper's own death; empty deletes it. */
  note: [{ readonly key: string; readonly value: string }, Record<string, never>];
  /** From the answer on, every KeeperEvent is sent on this connection. */
  events: [Record<string, never>, Record<string, never>];
  /** Stops every instance, closes every socket, ends. */
  shutdown: [Record<string, never>, Record<string, never>];
}
export type OpName = keyof Ops;
export type OpArgs<Name extends OpName> = Ops[Name][0];
export type OpResult<Name extends OpName> = Ops[Name][1];

export type Request = { readonly id: number; readonly op: string } & Readonly<Record<string, unknown>>;
export type Reply =
  | { readonly id: number; readonly ok: unknown }
  | { readonly id: number; readonly error: WireError }
  | { readonly event: KeeperEvent };

/** Cuts a byte stream into parsed lines; throws when a line is longer than the limit or no JSON. */
export function lineReader(
  onLine: (value: unknown) => void,
  limitBytes: number = LINE_LIMIT_BYTES,
): (chunk: Buffer | string) => void {
  let parts: Buffer[] = [];
  let size = 0;
  return (data) => {
    const chunk = typeof data === "string" ? Buffer.from(data) : data;
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end));
      const text = Buffer.concat(parts).toString("utf8");
      parts = [];
      size = 0;
      start = end + 1;
      if (text !== "") onLine(JSON.parse(text));
    }
    parts.push(chunk.subarray(start));
    size += chunk.length - start;
    if (size > limitBytes) throw new RangeError("a line of the keeper's protocol is too long");
  };
}
