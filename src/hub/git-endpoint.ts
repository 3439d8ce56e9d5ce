/** `Upgrade: skein-git`: the connection becomes git's own, after the same door as every other request. */
import type http from "node:http";
import type { Duplex } from "node:stream";
import { SkeinError, toWire } from "../lib/errors/errors.ts";
import type { GitService } from "./git/git-repos.ts";
import { needPush } from "./handlers.ts";
import { statusOf } from "./http/http.ts";
import type { Hub } from "./hub.ts";
import { admit, type RouterParts } from "./http/router.ts";

/** How long the other side may take to end its half. */
const LINGER_MS = 5000;
/** A connection on which neither side says a word for so long is dead. Index-packing a large push is silent. */
const IDLE_MS = 600_000;

export function upgradeListener(hub: Hub, parts: RouterParts) {
  return (req: http.IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on("error", () => undefined);
    const cut = (): void => void socket.destroy();
    parts.signal.addEventListener("abort", cut, { once: true });
    socket.once("close", () => parts.signal.removeEventListener("abort", cut));
    takeOver(hub, parts, req, socket, head).catch((err: unknown) => refuse(socket, err));
  };
}

async function takeOver(
  hub: Hub,
  parts: RouterParts,
  req: http.IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const { name, params, caller } = admit(parts, req);
  if (name !== "git" || req.headers.upgrade !== "skein-git") {
    throw new SkeinError("BAD_REQUEST", "only git connections can be upgraded");
  }
  const repo = params["repo"] ?? "";
  const service = params["service"] as GitService;
  needPush(hub, caller.kid, repo);
  await hub.git.check(repo, service);
  const gone = new AbortController();
  socket.once("close", () => gone.abort());
  using _ = await hub.git.place(caller.kid, req.socket, AbortSignal.any([parts.signal, gone.signal]));
  hub.core.log.info("git", { service, repo, operator: caller.kid });
  req.socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: skein-git\r\n\r\n");
  if (head.length > 0) socket.unshift(head);
  try {
    await hub.git.serve(repo, service, socket, parts.signal);
    leave(socket);
  } catch (err) {
    hub.core.log.error("a git connection failed", { service, repo, err: String(err) });
    socket.destroy();
  }
}

function refuse(socket: Duplex, err: unknown): void {
  const body = JSON.stringify({ error: toWire(err) });
  leave(
    socket,
    `HTTP/1.1 ${statusOf(err)} Refused\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/** Ends our half and waits a while for theirs: closing at once could throw away what is still on its way to them. */
function leave(socket: Duplex, last?: string): void {
  socket.end(last);
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
}
