/** Serves a folder's files over HTTP, whole or by ranges (zsync asks for many in one request). */
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { pipeline } from "node:stream/promises";

const [dir = ".", host = "127.0.0.1", port = "0"] = process.argv.slice(2);
const BOUNDARY = "4c1d8e0f5b7a";

interface Range {
  readonly start: number;
  /** The last byte, as HTTP counts. */
  readonly end: number;
}

http
  .createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  })
  .listen(Number(port), host);

async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://here");
  const file = path.join(dir, path.normalize(decodeURIComponent(pathname)));
  const stat = await fs.promises.stat(file).catch(() => undefined);
  if (stat?.isFile() !== true) return void response.writeHead(404).end();
  const ranges = rangesOf(request.headers.range, stat.size);
  const [only] = ranges;
  if (only === undefined) {
    response.writeHead(200, { "content-length": stat.size });
    await pipeline(fs.createReadStream(file), response);
  } else if (ranges.length === 1) {
    const place = `bytes ${only.start}-${only.end}/${stat.size}`;
    response.writeHead(206, { "content-range": place, "content-length": only.end - only.start + 1 });
    await pipeline(fs.createReadStream(file, only), response);
  } else {
    const body = await parts(file, ranges, stat.size);
    // zsync reads no chunked answers: the length has to be known.
    const type = `multipart/byteranges; boundary=${BOUNDARY}`;
    response.writeHead(206, { "content-type": type, "content-length": body.length }).end(body);
  }
}

async function parts(file: string, ranges: readonly Range[], size: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  await using handle = await fs.promises.open(file);
  for (const { start, end } of ranges) {
    const place = `bytes ${start}-${end}/${size}`;
    pieces.push(Buffer.from(`\r\n--${BOUNDARY}\r\ncontent-range: ${place}\r\n\r\n`));
    const bytes = Buffer.allocUnsafe(end - start + 1);
    await handle.read(bytes, 0, bytes.length, start);
    pieces.push(bytes);
  }
  pieces.push(Buffer.from(`\r\n--${BOUNDARY}--\r\n`));
  return Buffer.concat(pieces);
}

function rangesOf(header: string | undefined, size: number): Range[] {
  const listed = /^bytes=(.+)$/.exec(header ?? "")?.[1]?.split(",") ?? [];
  return listed.flatMap((text) => {
    const [, start = "", last = ""] = /^\s*(\d+)-(\d*)\s*$/.exec(text) ?? [];
    if (start === "") return [];
    const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
    return Number(start) > end ? [] : [{ start: Number(start), end }];
  });
}
