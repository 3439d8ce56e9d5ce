import type https from "node:https";
import type { AddressInfo } from "node:net";
import { listening } from "../lib/process/listening.ts";
import type { KeyId } from "../lib/text/ids.ts";
import { AnonymousRate } from "../trust/connection/anonymous-rate.ts";
import { boundHandshakes } from "../trust/connection/handshakes.ts";
import { KnownCallers } from "../trust/connection/known-callers.ts";
import { Strangers } from "../trust/connection/strangers.ts";
import { Callers } from "./http/caller.ts";
import { upgradeListener } from "./git-endpoint.ts";
import { handlersOf } from "./handlers.ts";
import type { Hub } from "./hub.ts";
import { keys } from "./records/keys.ts";
import type { Nodes } from "./cluster/nodes.ts";
import { requestListener, type RouterParts } from "./http/router.ts";

/** Longer than the longest poll (120 s): idle beyond that is a dead peer. */
const SOCKET_IDLE_MS = 180_000;
const MAX_CONNECTIONS = 20_000;
const STRANGERS = { graceMs: 30_000, perAddress: 512, inAll: 4096 } as const;
/** Nodes behind one address that all lost their hub come at once, and each waits for its turn. */
const HANDSHAKES = { perAddress: 2048, inAll: 12_000 } as const;
/** A command holds at most 16 connections, an agent 64 more: one for each command that it answers. */
const PER_KEY = 1024;

/** Where a hub listens. Port 0: any free one. */
export interface HubPlace {
  readonly host: string;
  readonly port: number;
}

export interface AnswerOptions {
  readonly listen: HubPlace;
  /** Requests a second that one address may make without an identity. Default 20. */
  readonly anonymousPerSec?: number;
  /** How long a connection may stay without a request by anybody known, in ms. Default 30 000. */
  readonly strangerMs?: number;
}

/** Listens, and tells who calls the hub from who has no business with it. @returns the port */
export async function answerCallers(server: https.Server, hub: Hub, options: AnswerOptions): Promise<number> {
  const { core, charters, nodes } = hub;
  const known = {
    charter: () => charters.current,
    membership: (node: Parameters<Nodes["membership"]>[0]) => nodes.membership(node),
  };
  const callers = new Callers(known, core.clock);
  const rate = new AnonymousRate(core.clock, options.anonymousPerSec);
  boundHandshakes(server, HANDSHAKES);
  const strangers = new Strangers({ ...STRANGERS, graceMs: options.strangerMs ?? STRANGERS.graceMs });
  const members = new KnownCallers<KeyId>(PER_KEY, (key) => {
    const isOperator = Object.hasOwn(charters.current?.operators ?? {}, key);
    return isOperator || nodes.membership(key) === "member";
  });
  core.mirror.onChange((changed) => {
    if (changed.some((key) => key.startsWith(keys.charters) || key.endsWith("/revoke"))) members.changed();
  });
  server.on("secureConnection", (socket) => strangers.came(socket, socket.remoteAddress ?? ""));
  const parts: RouterParts = {
    handlers: handlersOf(hub),
    callerOf: (req) => {
      const caller = callers.of(req);
      if (caller.role !== "anonymous") {
        strangers.known(req.socket);
        members.came(caller.kid, req.socket);
      }
      if (caller.role === "node") hub.presence.connected(caller.kid, req.socket);
      return caller;
    },
    held: (caller) => (tag) => (caller.role === "node" ? hub.wanted.told.named(caller.kid, tag) : undefined),
    strangerCame: (req) => rate.take(req.socket.remoteAddress ?? ""),
    failed: (req, err) =>
      core.log.error("a request failed", { method: req.method, url: req.url, err: String(err) }),
    signal: core.signal,
  };
  server.on("request", requestListener(parts));
  server.on("upgrade", upgradeListener(hub, parts));
  server.maxConnections = MAX_CONNECTIONS;
  // Uploads and streams may take as long as they move; what stands still is ended by the socket's own time limit.
  server.requestTimeout = 0;
  server.setTimeout(SOCKET_IDLE_MS);
  // Longer than clients keep an idle connection (50 s): else a request could be sent into one that just ended.
  server.keepAliveTimeout = 65_000;
  await listening("the hub", server, options.listen);
  return (server.address() as AddressInfo).port;
}
