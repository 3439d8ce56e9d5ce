import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { openBucket, type BucketOptions, type S3Bucket } from "./bucket.ts";
import type { Environment } from "./settings.ts";
import { PATIENCE_MS } from "../../lib/testing/patience.fixture.ts";

/** A real S3 server: OpenStack Swift (s3-server.py), which ends with this process. */
export interface S3Server extends AsyncDisposable {
  readonly endpoint: string;
  /** What a process needs to reach it: endpoint, region and keys, and a home without shared files. */
  readonly env: Readonly<Record<string, string>>;
  /** Makes a bucket of its own for who asks. @returns its name */
  makeBucket(): Promise<string>;
}

export interface S3ServerOptions {
  /** Whether it keeps conditions of writes, as S3 does and Swift does not. */
  readonly conditional: boolean;
  /** Where its folder is made; else where temporary files go. */
  readonly within?: string;
}

/** Debian's own: another Python on the path does not see Debian's packages. */
const PYTHON = "/usr/bin/python3";
const KEYS = { AWS_ACCESS_KEY_ID: "test:tester", AWS_SECRET_ACCESS_KEY: "testing" };

/** What a run of tests says to its files: the endpoints of servers that it started for all of them. */
export const S3_OF_RUN = "SKEIN_TEST_S3";

export async function startS3Server({
  conditional,
  within = os.tmpdir(),
}: S3ServerOptions): Promise<S3Server> {
  const folder = fs.mkdtempSync(path.join(within, "skein-s3-"));
  const script = path.join(import.meta.dirname, "s3-server.py");
  const flags = conditional ? ["conditional"] : [];
  const child = spawn(PYTHON, [script, folder, ...flags], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const [line] = (await Promise.race([once(createInterface(child.stdout), "line"), ended])) as [unknown];
  if (typeof line !== "string") throw new Error(`the S3 server ended with ${String(line)}`);
  const { endpoint } = JSON.parse(line) as { endpoint: string };
  // Nobody stays for its sake.
  for (const handle of [child, child.stdin, child.stdout] as { unref: () => void }[]) handle.unref();
  return serverAt(endpoint, folder, async () => {
    child.ref();
    child.kill("SIGKILL");
    await ended;
  });
}

function serverAt(endpoint: string, home: string, end: () => Promise<void>): S3Server {
  const env = { ...KEYS, AWS_REGION: "us-east-1", AWS_ENDPOINT_URL: endpoint, HOME: home };
  return {
    endpoint,
    env,
    async makeBucket() {
      const name = `bucket-${randomBytes(6).toString("hex")}`;
      using bucket = await openBucket(`s3://${name}`, env);
      await bucket.tell({ method: "PUT", signal: AbortSignal.timeout(PATIENCE_MS) });
      return name;
    },
    async [Symbol.asyncDispose]() {
      await end();
      fs.rmSync(home, { recursive: true, force: true });
    },
  };
}

/** The run's server; where a file is run by itself, one for the file, started when the first test asks. */
export function sharedS3Server(options: S3ServerOptions): () => Promise<S3Server> {
  let server: Promise<S3Server> | undefined;
  after(async () => await (await server)?.[Symbol.asyncDispose]());
  return async () => await (server ??= serverOfRun(options));
}

async function serverOfRun(options: S3ServerOptions): Promise<S3Server> {
  const ofRun = process.env[S3_OF_RUN];
  if (ofRun === undefined) return await startS3Server(options);
  const [plain, conditional] = JSON.parse(ofRun) as [string, string];
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "skein-s3-"));
  return serverAt(options.conditional ? conditional : plain, home, async () => undefined);
}

/** A bucket of the test's own, opened with the server's keys. */
export async function freshBucket(
  t: TestContext,
  server: S3Server,
  options: BucketOptions = {},
  env: Environment = server.env,
): Promise<S3Bucket> {
  const bucket = await openBucket(`s3://${await server.makeBucket()}/some/prefix`, env, options);
  atEnd(t, () => bucket[Symbol.dispose]());
  return bucket;
}
