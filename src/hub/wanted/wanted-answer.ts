import type http from "node:http";
import { withAlong, type AlongBlob } from "../../api/along-blob.ts";
import { CODED, CODED_AFTER, encode, encodeContent, type Content } from "../../api/body-coding.ts";
import type { Wanted } from "../../api/schemas.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { acceptedCodings, sendBody } from "../http/http.ts";
import type { Told } from "./told.ts";

export interface Answer {
  readonly content: Content;
  /** With what belongs to the moment. */
  readonly whole: () => Promise<Wanted>;
}

/**
 * In full to whoever reads nothing else; as one zstd frame; or, to a node that was told `held` by this hub and still
 * has it, as what is new since. The last leaves out what belongs to the moment: the node was told that before.
 * @param along goes with the last; others are not told of one order but of all
 */
export async function sendWanted(
  call: { readonly req: http.IncomingMessage; readonly res: http.ServerResponse },
  { content, whole }: Answer,
  node: KeyId,
  told: Told,
  along?: AlongBlob,
): Promise<void> {
  const { req, res } = call;
  const codings = acceptedCodings(req);
  const held = codings.has(CODED_AFTER) ? told.after(node, req.headers["if-none-match"]) : undefined;
  if (codings.has(CODED) || codings.has(CODED_AFTER)) told.keep(node, content, held === undefined);
  if (held !== undefined) {
    const { bytes, headers } = withAlong(await encodeContent(content, held), along);
    res.writeHead(200, { "content-encoding": CODED_AFTER, "content-length": bytes.length, ...headers });
    res.end(bytes);
    return;
  }
  const body = Buffer.from(JSON.stringify(await whole()));
  if (codings.size === 0) return sendBody(res, 200, body, { etag: content.etag });
  return sendBody(res, 200, await encode(body), { "content-encoding": CODED });
}
