/** git's own HTTP (gitprotocol-http(5), the smart one): for a git that calls without Skein's helper. */
import type http from "node:http";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { GitRepos, GitRequest, GitService } from "./git-repos.ts";

/** As for connections of git's own. */
const IDLE_MS = 600_000;

export function gitRequest(repo: string, service: GitService, req: http.IncomingMessage): GitRequest {
  const said = req.headers["git-protocol"];
  const known = service === "git-upload-pack" && typeof said === "string" && /^version=[0-2]$/.test(said);
  return { repo, service, protocol: known ? said : undefined };
}

/** Whoever calls has a place for it. @throws SkeinError NOT_FOUND */
export async function sendRefs(
  git: GitRepos,
  request: GitRequest,
  res: http.ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  await git.checkThere(request.repo);
  begin(res, `${request.service}-advertisement`);
  if (request.protocol !== "version=2") res.write(`${packetLine(`# service=${request.service}\n`)}0000`);
  await git.advertise(request, res, signal);
  res.end();
}

/** Whoever calls has a place for it. @throws SkeinError NOT_FOUND, CODING_UNKNOWN */
export async function sendExchange(
  git: GitRepos,
  request: GitRequest,
  req: http.IncomingMessage,
  res: http.ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  await git.checkThere(request.repo);
  const body = bodyOf(req, res, request.service);
  begin(res, `${request.service}-result`);
  await git.exchange(request, body, res, signal);
  res.end();
}

function begin(res: http.ServerResponse, type: string): void {
  res.setTimeout(IDLE_MS, () => res.destroy());
  res.writeHead(200, { "content-type": `application/x-${type}`, "cache-control": "no-cache" });
}

/** git packs a long list of what it has and wants, and never what it pushes. */
function bodyOf(req: http.IncomingMessage, res: http.ServerResponse, service: GitService): Readable {
  const coding = req.headers["content-encoding"];
  if (coding === undefined) return req;
  if (coding !== "gzip" || service !== "git-upload-pack")
    throw new SkeinError("CODING_UNKNOWN", "the body is coded in a way that is not known here", {
      data: { coding },
    });
  const plain = createGunzip();
  // The request itself may have come whole: git would wait for the rest of it as long as the caller waits for git.
  plain.once("error", () => res.destroy());
  return req.pipe(plain);
}

const packetLine = (text: string): string => `${(text.length + 4).toString(16).padStart(4, "0")}${text}`;
