/**
 * Every route of the hub in one table: who may call it, what it takes and gives. The server, the OpenAPI document and
 * the authorisation test are made from it; what is not in it cannot be called (default deny).
 */
import * as z from "zod";
import { GIT_ROUTE } from "./hub-address.ts";
import { appName, digest, envName, keyId, nodeName, repoName, roster } from "./parts.ts";
import * as m from "./member-schemas.ts";
import * as s from "./schemas.ts";

/** Who a caller can be. `anonymous` holds a key that nobody vouches for. */
export const ROLES = ["anonymous", "node", "operator"] as const;
export type Role = (typeof ROLES)[number];

export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "HEAD" | "DELETE";
  /** With `:name` for parameters, `*` at the end for the rest. */
  readonly path: string;
  readonly summary: string;
  readonly roles: readonly Role[];
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly response?: z.ZodType;
  /** The shape of one line of an ndjson stream. */
  readonly lines?: z.ZodType;
  /** Bytes both or one way, handled on the raw request. */
  readonly raw?: true;
  /** Longest body in bytes. Default 2 MiB. */
  readonly maxBody?: number;
}

const EVERYBODY = ["anonymous", "node", "operator"] as const;
const MEMBERS = ["node", "operator"] as const;
const OPERATORS = ["operator"] as const;
const NODES = ["node"] as const;
const MIB = 2 ** 20;
const gitService = z.enum(["git-upload-pack", "git-receive-pack"]);

const count = (fallback: number, max: number): z.ZodDefault<z.ZodCoercedNumber> =>
  z.coerce.number().int().min(0).max(max).default(fallback);

export const ROUTES = {
  hub: {
    method: "GET",
    path: "/v1/hub",
    summary: "What this hub is",
    roles: EVERYBODY,
    response: s.hubInfo,
  },
  openapi: {
    method: "GET",
    path: "/v1/openapi.json",
    summary: "This document",
    roles: EVERYBODY,
    response: z.unknown(),
  },
  charters: {
    method: "GET",
    path: "/v1/charters",
    summary: "Charter versions above `after`",
    roles: EVERYBODY,
    query: z.object({ after: count(0, 1e9) }),
    response: m.charterList,
  },
  postCharter: {
    method: "POST",
    path: "/v1/charters",
    summary: "Stores the next charter version; the first one, while the hub has none",
    roles: EVERYBODY,
    body: m.charterPost,
    response: s.empty,
  },
  postTicket: {
    method: "POST",
    path: "/v1/tickets",
    summary: "Stores a ticket that lets one node in",
    roles: OPERATORS,
    body: m.ticketPost,
    response: m.ticketView,
  },
  ticket: {
    method: "GET",
    path: "/v1/tickets/:ticket",
    summary: "One ticket, by its digest or by its join key's id",
    roles: EVERYBODY,
    response: m.ticketView,
  },
  enrol: {
    method: "POST",
    path: "/v1/enrol",
    summary: "Uses a ticket: the caller's key becomes a node",
    roles: EVERYBODY,
    body: m.enrolPost,
    response: m.enrolled,
  },
  comeBack: {
    method: "POST",
    path: "/v1/returns",
    summary: "A node that this hub let in, and that its store forgot, is taken up again",
    roles: EVERYBODY,
    body: m.returnPost,
    response: m.enrolled,
  },
  membership: {
    method: "GET",
    path: "/v1/membership",
    summary:
      "What a node keeps for a hub whose store is set back: new labels and revocations after a revision",
    roles: NODES,
    query: z.object({ after: count(0, Number.MAX_SAFE_INTEGER) }),
    response: m.membership,
  },
  nodes: { method: "GET", path: "/v1/nodes", summary: "All nodes", roles: MEMBERS, response: s.nodeList },
  nodeDocuments: {
    method: "GET",
    path: "/v1/nodes/:name/documents",
    summary: "What proves a node's identity (by name or key id)",
    roles: MEMBERS,
    response: m.nodeDocuments,
  },
  postLabel: {
    method: "POST",
    path: "/v1/labels",
    summary: "Gives a node other labels or another name",
    roles: OPERATORS,
    body: m.labelPost,
    response: s.empty,
  },
  postRevocation: {
    method: "POST",
    path: "/v1/revocations",
    summary: "Ends a node's membership",
    roles: OPERATORS,
    body: m.revocationPost,
    response: s.empty,
  },
  postRelease: {
    method: "POST",
    path: "/v1/releases",
    summary: "Publishes a signed release",
    roles: OPERATORS,
    body: s.releasePost,
    response: s.releaseView,
  },
  releases: {
    method: "GET",
    path: "/v1/releases",
    summary: "Releases, newest first",
    roles: MEMBERS,
    query: z.object({ app: appName.optional(), limit: count(50, 1000) }),
    response: s.releaseList,
  },
  release: {
    method: "GET",
    path: "/v1/releases/:id",
    summary: "One release by id, unique prefix (4 digits or more) or commit",
    roles: MEMBERS,
    query: z.object({ app: appName.optional() }),
    response: s.releaseView,
  },
  postOrder: {
    method: "POST",
    path: "/v1/orders",
    summary: "Publishes an order: compare-and-set on the app's head",
    roles: OPERATORS,
    body: s.orderPost,
    response: s.orderAccepted,
    maxBody: 8 * MIB,
  },
  postSettle: {
    method: "POST",
    path: "/v1/settles",
    summary: "Publishes the settle of an order",
    roles: OPERATORS,
    body: s.settlePost,
    response: s.empty,
  },
  apps: { method: "GET", path: "/v1/apps", summary: "All apps", roles: MEMBERS, response: s.appList },
  app: {
    method: "GET",
    path: "/v1/apps/:app",
    summary: "One app in its environments",
    roles: MEMBERS,
    query: z.object({ env: envName.optional() }),
    response: s.appViews,
  },
  orders: {
    method: "GET",
    path: "/v1/apps/:app/orders",
    summary: "The orders of one app and environment that are kept, newest first",
    roles: MEMBERS,
    query: z.object({ env: envName.default("default") }),
    response: s.orderHistory,
  },
  rollout: {
    method: "GET",
    path: "/v1/rollouts/:digest",
    summary: "How far an order is; waits for news while `after` is its revision",
    roles: MEMBERS,
    query: s.viewNews,
    response: s.rolloutView,
  },
  abortRollout: {
    method: "POST",
    path: "/v1/rollouts/:digest/abort",
    summary: "Takes every node of a rollout back to the fallback",
    roles: OPERATORS,
    response: s.empty,
  },
  pauseRollout: {
    method: "POST",
    path: "/v1/rollouts/:digest/pause",
    summary: "Lets no further node of a rollout begin",
    roles: OPERATORS,
    response: s.empty,
  },
  resumeRollout: {
    method: "POST",
    path: "/v1/rollouts/:digest/resume",
    summary: "Lets a paused rollout go on; its failures so far no longer count",
    roles: OPERATORS,
    response: s.empty,
  },
  wanted: {
    method: "GET",
    path: "/v1/wanted",
    summary: "What the calling node should run; waits for news when `if-none-match` is current",
    roles: NODES,
    query: z.object({ wait: count(0, 120_000), boot: s.bootNonce.optional(), along: s.alongBytes }),
    response: s.wanted,
  },
  roster: {
    method: "GET",
    path: "/v1/rosters/:digest",
    summary: "The nodes that an order is for, by the digest that it signed; small ones come with `wanted`",
    roles: MEMBERS,
    response: roster,
  },
  report: {
    method: "POST",
    path: "/v1/reports",
    summary: "What the calling node does",
    roles: NODES,
    body: s.report,
    response: s.reported,
    maxBody: 16 * MIB,
  },
  peers: {
    method: "GET",
    path: "/v1/peers",
    summary: "Present nodes that may hold what the calling node wants, and where they serve it",
    roles: NODES,
    query: z.object({ etag: z.string().max(128).default("") }),
    response: s.peerList,
  },
  ports: {
    method: "GET",
    path: "/v1/ports",
    summary: "The port table",
    roles: MEMBERS,
    query: z.object({ app: appName.optional(), env: envName.optional() }),
    response: s.portList,
  },
  events: {
    method: "GET",
    path: "/v1/events",
    summary: "Changes from a revision on; a blank line every 10 s",
    roles: MEMBERS,
    query: z.object({
      from: count(0, Number.MAX_SAFE_INTEGER),
      prefix: z.enum(["apps", "ports", "nodes", "rollouts"]).optional(),
    }),
    lines: s.hubEvent,
  },
  depotHas: {
    method: "POST",
    path: "/v1/depot/has",
    summary: "Which of these blobs are there",
    roles: MEMBERS,
    body: s.blobNames,
    response: s.blobsThere,
    maxBody: 4 * MIB,
  },
  depotList: {
    method: "GET",
    path: "/v1/depot/list",
    summary: "Names of blobs, sorted, a page at a time",
    roles: MEMBERS,
    query: z.object({
      prefix: z.string().max(200).default(""),
      after: z.string().max(200).default(""),
      limit: count(5000, 10_000),
    }),
    response: s.blobList,
  },
  depotGet: {
    method: "GET",
    path: "/v1/depot/blobs/*",
    summary: "A blob's bytes; honours Range",
    roles: MEMBERS,
    raw: true,
  },
  depotPieces: {
    method: "GET",
    path: "/v1/depot/pieces/*",
    summary: "What a blob's pieces hash to; its bytes where it has at most `whole` and is small",
    roles: MEMBERS,
    query: z.object({ whole: count(0, Number.MAX_SAFE_INTEGER) }),
    response: s.pieceProof,
  },
  depotHead: {
    method: "HEAD",
    path: "/v1/depot/uploads/*",
    summary: "How much of an upload is there (upload-offset)",
    roles: OPERATORS,
    raw: true,
  },
  depotPut: {
    method: "PUT",
    path: "/v1/depot/blobs/*",
    summary: "Stores a blob; upload-offset, upload-length and upload-sha256 make it resumable",
    roles: OPERATORS,
    raw: true,
  },
  depotDelete: {
    method: "DELETE",
    path: "/v1/depot/blobs/*",
    summary: "Deletes a blob (admin)",
    roles: OPERATORS,
    raw: true,
  },
  depotCollect: {
    method: "POST",
    path: "/v1/depot/collect",
    summary: "Removes from the depot what no kept release needs (docs/operations.md)",
    roles: OPERATORS,
    body: s.collectPost,
    response: s.collected,
  },
  repos: {
    method: "GET",
    path: "/v1/git",
    summary: "Repositories on this hub",
    roles: OPERATORS,
    response: s.reposList,
  },
  git: {
    method: "GET",
    path: GIT_ROUTE,
    summary: "Upgrade to `skein-git`: a raw connection to git-upload-pack or git-receive-pack",
    roles: OPERATORS,
    raw: true,
  },
  gitRefs: {
    method: "GET",
    path: "/v1/git/:repo/info/refs",
    summary: "What a repository has, as git's own HTTP asks for it; a first push needs the upgrade",
    roles: OPERATORS,
    query: z.object({ service: gitService }),
    raw: true,
  },
  gitExchange: {
    method: "POST",
    path: GIT_ROUTE,
    summary: "One fetch or push of git's own HTTP",
    roles: OPERATORS,
    raw: true,
  },
  postCommand: {
    method: "POST",
    path: "/v1/commands",
    summary: "Sends a signed command to nodes and streams what they answer",
    roles: OPERATORS,
    body: s.commandPost,
    lines: s.commandLine,
  },
  answerCommand: {
    method: "POST",
    path: "/v1/commands/:digest/:node",
    summary: "A node's answer to a command, as ndjson",
    roles: NODES,
    raw: true,
  },
} as const satisfies Record<string, Route>;

export type RouteName = keyof typeof ROUTES;

/** Parameters of paths, by name. */
export const PATH_PARAMS = {
  digest,
  node: keyId,
  /** A ticket's digest or its join key's id. */
  ticket: z.string().regex(/^([0-9a-f]{32}|[0-9a-f]{64})$/),
  /** A node's name or key id. */
  name: nodeName,
  app: appName,
  id: z.string().regex(/^[0-9a-f]{4,40}$/),
  repo: repoName,
  service: gitService,
} as const satisfies Record<string, z.ZodType>;
