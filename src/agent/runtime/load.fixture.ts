import net from "node:net";
import tls from "node:tls";

/**
 * An open-loop HTTP/1.1 client: requests leave on their own schedule whether or not answers come, as the world's do.
 * Every request that is refused, reset, cut, late or wrongly answered is counted, by class; nothing is tried again.
 */
export interface LoadOptions {
  readonly port: number;
  readonly host?: string;
  readonly perSec: number;
  /** `keep`: connections are reused, oldest first; `one`: a new connection for each request. */
  readonly mode: "keep" | "one";
  /**
   * Connections that are opened at first, and the most that `keep` keeps idle: the time between two uses of one is this
   * many requests.
   */
  readonly connections?: number;
  readonly tls?: boolean;
  readonly timeoutMs?: number;
  readonly path?: string;
}

export interface LoadResult {
  readonly sent: number;
  readonly ok: number;
  readonly lost: number;
  /** Losses by class: `refused`, `reset-new`, `reset-reused`, `cut`, `timeout`, `status-503` ... */
  readonly classes: Readonly<Record<string, number>>;
  /** Answers by their body (at most 32 characters). */
  readonly bodies: Readonly<Record<string, number>>;
  /** Longest time to an answer, in ms. */
  readonly slowestMs: number;
}

interface Connection {
  readonly socket: net.Socket;
  /** Requests sent on it so far. */
  uses: number;
  sentAt: number;
  busy: boolean;
  connected: boolean;
  received: string;
}

const POOL = 16;
const HEAD_END = "\r\n\r\n";

export class Load implements Disposable {
  readonly #options: LoadOptions;
  readonly #request: string;
  readonly #idle: Connection[] = [];
  readonly #busy = new Set<Connection>();
  readonly #classes: Record<string, number> = {};
  readonly #bodies: Record<string, number> = {};
  readonly #began = performance.now();
  readonly #timer: NodeJS.Timeout;
  #due = 0;
  #sent = 0;
  #ok = 0;
  #slowestMs = 0;
  #ended = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    const close = options.mode === "one" ? "Connection: close\r\n" : "";
    this.#request = `GET ${options.path ?? "/"} HTTP/1.1\r\nHost: load\r\n${close}\r\n`;
    for (let n = 0; n < (options.connections ?? 0); n++) this.#open(false);
    // what has arrived is read before anything is sent: a client that was held up must not use what it was told is closed
    this.#timer = setInterval(() => setImmediate(() => this.#tick()), 1);
  }

  /** How many answers had this body until now. */
  heard(body: string): number {
    return this.#bodies[body] ?? 0;
  }

  /** Stops sending and waits for what is under way. */
  async end(): Promise<LoadResult> {
    clearInterval(this.#timer);
    const timeoutMs = this.#options.timeoutMs ?? 5000;
    const until = performance.now() + timeoutMs + 100;
    while (this.#busy.size > 0 && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      this.#expire();
    }
    this[Symbol.dispose]();
    const lost = Object.values(this.#classes).reduce((sum, n) => sum + n, 0);
    return {
      sent: this.#sent,
      ok: this.#ok,
      lost,
      classes: this.#classes,
      bodies: this.#bodies,
      slowestMs: Math.round(this.#slowestMs),
    };
  }

  /** Sends no more and counts nothing that comes from now on: a test that failed must not be kept alive by its load. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#ended = true;
    for (const { socket } of [...this.#idle, ...this.#busy]) socket.destroy();
  }

  #tick(): void {
    if (this.#ended) return;
    const elapsed = performance.now() - this.#began;
    for (this.#due = Math.floor((elapsed * this.#options.perSec) / 1000); this.#sent < this.#due;)
      this.#send();
    this.#expire();
  }

  #expire(): void {
    const before = performance.now() - (this.#options.timeoutMs ?? 5000);
    for (const connection of this.#busy) {
      if (connection.sentAt < before) this.#fail(connection, "timeout");
    }
  }

  #send(): void {
    this.#sent += 1;
    const connection = (this.#options.mode === "keep" ? this.#idle.shift() : undefined) ?? this.#open(true);
    connection.busy = true;
    connection.uses += 1;
    connection.sentAt = performance.now();
    connection.received = "";
    this.#busy.add(connection);
    connection.socket.write(this.#request);
  }

  #open(forUse: boolean): Connection {
    const { port, host = "127.0.0.1" } = this.#options;
    const socket =
      this.#options.tls === true
        ? tls.connect({ port, host, rejectUnauthorized: false })
        : net.connect({ port, host, noDelay: true });
    const connection: Connection = {
      socket,
      uses: 0,
      sentAt: 0,
      busy: forUse,
      connected: false,
      received: "",
    };
    if (!forUse) this.#idle.push(connection);
    socket.setEncoding("latin1");
    socket.once("connect", () => (connection.connected = true));
    socket.on("data", (text: string) => this.#receive(connection, text));
    socket.on("error", (err: NodeJS.ErrnoException) => this.#gone(connection, err.code ?? "error"));
    socket.on("close", () => this.#gone(connection, "eof"));
    return connection;
  }

  #receive(connection: Connection, text: string): void {
    if (!connection.busy) return;
    connection.received += text;
    const end = connection.received.indexOf(HEAD_END);
    if (end < 0) return;
    const head = connection.received.slice(0, end);
    const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? Number.NaN);
    const body = connection.received.slice(end + HEAD_END.length);
    const whole = Number.isNaN(length) ? body.endsWith("0\r\n\r\n") : body.length >= length;
    if (!whole) return;
    const status = head.slice(9, 12);
    if (status === "200") this.#succeed(connection, head, body);
    else this.#fail(connection, `status-${status}`);
  }

  #succeed(connection: Connection, head: string, body: string): void {
    this.#ok += 1;
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - connection.sentAt);
    const key = body.slice(0, 32).trim();
    this.#bodies[key] = (this.#bodies[key] ?? 0) + 1;
    this.#busy.delete(connection);
    connection.busy = false;
    const keep =
      this.#options.mode === "keep" && !/connection: *close/i.test(head) && !head.startsWith("HTTP/1.0");
    const room = this.#idle.length < (this.#options.connections ?? POOL);
    if (keep && room && !connection.socket.destroyed) this.#idle.push(connection);
    else connection.socket.destroy();
  }

  #gone(connection: Connection, code: string): void {
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    if (!connection.busy || !this.#busy.has(connection)) return;
    if (!connection.connected && code === "ECONNREFUSED") this.#fail(connection, "refused");
    else if (connection.received !== "") this.#fail(connection, "cut");
    else this.#fail(connection, connection.uses > 1 ? "reset-reused" : "reset-new");
  }

  #fail(connection: Connection, kind: string): void {
    if (this.#ended) return;
    this.#classes[kind] = (this.#classes[kind] ?? 0) + 1;
    this.#busy.delete(connection);
    connection.busy = false;
    connection.socket.destroy();
  }
}
