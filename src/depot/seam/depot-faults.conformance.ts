import assert from "node:assert/strict";
import type http from "node:http";
import { test, type TestContext } from "node:test";
import { isSkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import type { DepotReader } from "./depot.ts";
import type { Pace } from "./pace.ts";

/** What a server does instead of giving the honest answer; undefined: it is honest. */
export type Fault =
  | { readonly kind: "status"; readonly status: number }
  /** Takes the request and stays silent. */
  | { readonly kind: "silent" }
  /** A byte now and then, for ever. */
  | { readonly kind: "drip" }
  /** The connection breaks after so many bytes of the body. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** Announces more than it sends, and leaves the connection open. */
  | { readonly kind: "boast" }
  /** Announces and sends less than was asked for, without any sign of it. */
  | { readonly kind: "shorten" }
  /** What comes is not HTTP. */
  | { readonly kind: "garbage" };

export interface Honest {
  readonly status: number;
  readonly headers: http.OutgoingHttpHeaders;
  readonly body: Buffer;
}

/** Answers with a fault, or honestly. */
export function answerWith(
  fault: Fault | undefined,
  { status, headers, body }: Honest,
  res: http.ServerResponse,
): void {
  const { socket } = res;
  switch (fault?.kind) {
    case undefined:
      res.writeHead(status, { ...headers, "content-length": body.length }).end(body);
      return;
    case "status":
      res.writeHead(fault.status).end("<html>something went wrong</html>");
      return;
    case "silent":
      return;
    case "drip": {
      res.writeHead(status, { ...headers, "content-length": body.length });
      let at = 0;
      const drop = setInterval(() => res.write(body.subarray(at, (at += 1))), 20);
      res.once("close", () => clearInterval(drop));
      return;
    }
    case "cut":
      res.writeHead(status, { ...headers, "content-length": body.length });
      res.write(body.subarray(0, fault.afterBytes), () => socket?.destroySoon());
      return;
    case "boast":
      res.writeHead(status, { ...headers, "content-length": body.length + 1000 });
      res.write(body);
      return;
    case "shorten":
      res.writeHead(status, { ...headers, "content-length": body.length >> 1 });
      res.end(body.subarray(0, body.length >> 1));
      return;
    case "garbage":
      socket?.end("220 mail.example.org ESMTP\r\n");
  }
}

export interface BadDepot {
  readonly reader: DepotReader;
  /** What the server does with the `n`th request for the blob, from 1 on; set by the test. */
  misbehave: (n: number) => Fault | undefined;
  /** Requests for the blob so far. */
  requests(): number;
}

export interface FaultPatience {
  readonly answerMs: number;
  readonly pace: Pace;
  readonly tries: number;
}

const BLOB = "packs/a";
const BYTES = Buffer.alloc(300_000, "the bytes of a blob ");
const LONG: FaultPatience = { answerMs: 30_000, pace: { windowMs: 30_000, leastBytes: 1000 }, tries: 4 };
const LIES: readonly Fault[] = [{ kind: "boast" }, { kind: "shorten" }];
const SHORT: FaultPatience = { answerMs: 200, pace: { windowMs: 200, leastBytes: 5000 }, tries: 2 };

/**
 * What a reader makes of a server that fails, hangs, drips and lies, whatever it is reached by.
 * @param open a depot that holds `bytes` under `name`, behind a server that misbehaves as it is told
 * @param code what it ends with when it gives up
 * @param tellsSize whether an answer says how long the whole blob is; else a short one is for who checks the bytes
 */
export function depotFaultsConformance(
  kind: string,
  { code, tellsSize }: { readonly code: ErrorCode; readonly tellsSize: boolean },
  open: (t: TestContext, name: string, bytes: Buffer, patience: FaultPatience) => Promise<BadDepot>,
): void {
  test(`${kind}: a download that is cut again and again goes on with the bytes that lack`, async (t) => {
    const depot = await open(t, BLOB, BYTES, LONG);
    depot.misbehave = (n) => (n <= 3 ? { kind: "cut", afterBytes: 70_000 } : undefined);
    assert.ok((await readAll(t, depot.reader)).equals(BYTES));
    assert.equal(depot.requests(), 4);
  });

  test(`${kind}: a server that fails for a moment is asked again`, async (t) => {
    const depot = await open(t, BLOB, BYTES, LONG);
    const faults: readonly Fault[] = [
      { kind: "status", status: 503 },
      { kind: "garbage" },
      { kind: "status", status: 500 },
    ];
    depot.misbehave = (n) => faults[n - 1];
    assert.ok((await readAll(t, depot.reader)).equals(BYTES));
    assert.equal(depot.requests(), 4);
  });

  const hopeless: readonly Fault[] = [
    { kind: "status", status: 500 },
    { kind: "silent" },
    { kind: "drip" },
    { kind: "garbage" },
    { kind: "cut", afterBytes: 10 },
  ];
  for (const fault of hopeless) {
    test(`${kind}: a server with nothing but "${fault.kind}" is given up on, with one clear error`, async (t) => {
      const depot = await open(t, BLOB, BYTES, SHORT);
      depot.misbehave = () => fault;
      await assert.rejects(readAll(t, depot.reader), { code });
      assert.ok(depot.requests() <= 2 * SHORT.tries, `${depot.requests()} requests`);
    });
  }

  for (const fault of tellsSize ? LIES : LIES.slice(0, 1)) {
    test(`${kind}: of a server that can only "${fault.kind}" come the right bytes or an error`, async (t) => {
      const depot = await open(t, BLOB, BYTES, SHORT);
      depot.misbehave = () => fault;
      const outcome = await readAll(t, depot.reader).catch((err: unknown) => err);
      if (outcome instanceof Buffer) assert.ok(outcome.equals(BYTES), `${outcome.length} bytes came`);
      else assert.ok(isSkeinError(outcome, code), String(outcome));
    });
  }
}

async function readAll(t: TestContext, depot: DepotReader): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of depot.get(BLOB, t.signal)) pieces.push(piece);
  return Buffer.concat(pieces);
}
