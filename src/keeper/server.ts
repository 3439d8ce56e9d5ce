import fs from "node:fs";
import net from "node:net";
import { SkeinError, toWire } from "../lib/errors/errors.ts";
import type { Handlers, Keeper } from "./keeper.ts";
import { lineReader, type KeeperEvent, type Reply, type Request } from "./protocol.ts";

/** What a listener that stands still (a stopped agent) may leave unread; it asks again when it comes back. */
const MAX_UNREAD_BYTES = 8 * 2 ** 20;

/** Connections that asked for events. One that reads nothing any more is closed. */
export class Audience {
  readonly #listeners = new Set<net.Socket>();

  add(socket: net.Socket): void {
    this.#listeners.add(socket);
    socket.once("close", () => this.#listeners.delete(socket));
  }

  tell(event: KeeperEvent): void {
    for (const socket of this.#listeners) {
      if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
      else send(socket, { event });
    }
  }
}

/** Serves the protocol on `file`. */
export async function serve(file: string, keeper: Keeper, audience: Audience): Promise<net.Server> {
  const server = net.createServer((socket) => {
    const handlers = handlersOf(keeper, () => audience.add(socket));
    const read = lineReader((value) => void answer(socket, requestIn(value), handlers));
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      try {
        read(chunk);
      } catch {
        socket.destroy();
      }
    });
  });
  fs.rmSync(file, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(file, resolve);
  });
  fs.chmodSync(file, 0o600);
  return server;
}

/** What it holds is the operation's to read. @throws SkeinError KEEPER_PROTOCOL */
function requestIn(value: unknown): Request {
  if (typeof value === "object" && value !== null) return value as Request;
  throw new SkeinError("KEEPER_PROTOCOL", "a line holds no request");
}

async function answer(socket: net.Socket, request: Request, handlers: Handlers): Promise<void> {
  try {
    if (!Object.hasOwn(handlers, request.op)) {
      throw new SkeinError("KEEPER_PROTOCOL", `this keeper does not know the operation ${request.op}`);
    }
    const handle = handlers[request.op as keyof Handlers] as (args: unknown) => unknown;
    send(socket, { id: request.id, ok: await handle(request) });
    if (request.op === "shutdown") socket.end(() => process.exit(0));
  } catch (err) {
    send(socket, { id: request.id, error: toWire(err) });
  }
}

function send(socket: net.Socket, reply: Reply): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(reply)}\n`);
}

function handlersOf(keeper: Keeper, subscribe: () => void): Handlers {
  const nothing = (act: () => void): Record<string, never> => {
    act();
    return {};
  };
  return {
    hello: () => keeper.hello(),
    listen: ({ socket }) => keeper.listen(socket),
    unlisten: ({ key }) => nothing(() => keeper.unlisten(key)),
    lockPort: ({ key, host, avoid }) => ({ port: keeper.lockPort(key, host, avoid) }),
    unlockPort: ({ key }) => nothing(() => keeper.unlockPort(key)),
    start: ({ instance }) => keeper.start(instance),
    again: ({ key }) => keeper.again(key),
    attach: ({ key }) => keeper.attach(key),
    signal: ({ key, signal }) => nothing(() => keeper.signal(key, signal)),
    stop: async ({ key, withinMs }) => await keeper.stop(key, withinMs),
    forget: ({ key }) => nothing(() => keeper.forget(key)),
    list: () => keeper.list(),
    note: ({ key, value }) => nothing(() => keeper.note(key, value)),
    events: () => nothing(subscribe),
    shutdown: async () => {
      await keeper.shutdown();
      return {};
    },
  };
}
