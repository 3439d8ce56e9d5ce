import * as z from "zod";
import { count, MEMBERS, MIB, OPERATORS, type Route } from "./route.ts";
import * as s from "./blob-schemas.ts";

/** The hub's depot. */
export const BLOB_ROUTES = {
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
    beside: true,
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
} as const satisfies Record<string, Route>;
