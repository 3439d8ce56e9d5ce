import { execFile } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import assert from "node:assert/strict";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { digestOf } from "../../lib/text/ids.ts";
import { openBucket } from "./bucket.ts";
import { s3Depot } from "./s3-depot.ts";
import type { S3Server } from "./s3-server.fixture.ts";
import { childProgram } from "../../lib/testing/child.fixture.ts";

/** A bucket with one blob, and what a process that knows only `env` makes of it. */
export async function seenBy(
  t: TestContext,
  server: S3Server,
  env: Readonly<Record<string, string>>,
  query = "",
  /** What a file is to become after a first look. */
  change: readonly [file: string, text: string] | [] = [],
): Promise<string> {
  const location = `s3://${await server.makeBucket()}`;
  using bucket = await openBucket(location, server.env);
  const bytes = Buffer.from("x");
  await s3Depot(bucket, "").put(
    "found",
    { size: 1, sha256: digestOf(bytes), open: () => justOnce(bytes) },
    t.signal,
  );
  const script = childProgram(import.meta.dirname, "s3-list.child.ts");
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [script, `${location}${query}`, ...change],
    {
      env: {
        PATH: process.env["PATH"],
        AWS_REGION: "us-east-1",
        AWS_ENDPOINT_URL_S3: server.endpoint,
        AWS_EC2_METADATA_DISABLED: "true",
        ...env,
      },
    },
  );
  assert.ok(!(stdout + stderr).includes("testing"), "a secret was printed");
  return stdout;
}

async function* justOnce(bytes: Buffer): AsyncGenerator<Buffer> {
  yield await Promise.resolve(bytes);
}

/** A home with these files below `.aws`. */
export function home(t: TestContext, files: Readonly<Record<string, string>>): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-aws-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  fs.mkdirSync(path.join(dir, ".aws"));
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, ".aws", name)), { recursive: true });
    fs.writeFileSync(path.join(dir, ".aws", name), text);
  }
  return dir;
}

export async function serve(
  t: TestContext,
  answer: (req: http.IncomingMessage) => string | undefined,
): Promise<string> {
  const server = http.createServer((req, res) => {
    const text = answer(req);
    res.writeHead(text === undefined ? 404 : 200).end(text);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, () => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
