import http from "node:http";
import https from "node:https";
import net from "node:net";
import type { Check } from "../../app/manifest.ts";
import type { Clock } from "../../lib/time/clock.ts";
import { errnoOf, messageOf } from "../../lib/errors/errors.ts";
import { afterRunningMs } from "../../lib/time/own-time.ts";
import { formatDuration } from "../../lib/text/units.ts";
import { runCommand, describeEnd } from "../programs/command.ts";
import type { SocketAddress } from "./address.ts";
import { argvOf, type ReleasePlan } from "./release-plan.ts";

const ANSWER_MS = 5000;
const NO_ANSWER = `no answer within ${formatDuration(ANSWER_MS)}`;
const LEAVE_MS = 1000;

export interface CheckContext {
  readonly plan: ReleasePlan;
  /** Of the instance, with the addresses in it. */
  readonly env: Readonly<Record<string, string>>;
  readonly addresses: readonly SocketAddress[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Asks once. null: passed; else one sentence on why not. Rejects only when the signal aborts. */
export async function runCheck(check: Check, context: CheckContext): Promise<string | null> {
  context.signal.throwIfAborted();
  if (check.type === "run") return await commandCheck(check, context);
  const address = context.addresses.find((one) => one.name === check.socket);
  if (address === undefined) return `there is no socket ${check.socket}`;
  return check.type === "http" ? await httpCheck(check, address, context) : await tcpCheck(address, context);
}

async function commandCheck(check: Check & { type: "run" }, context: CheckContext): Promise<string | null> {
  const [file = "", ...args] = argvOf(check.run, context.env);
  const { plan } = context;
  const result = await runCommand(
    {
      argv: [file, ...args],
      cwd: plan.dir,
      env: context.env,
      user: plan.user ?? undefined,
      withinMs: ANSWER_MS,
      onLine: () => undefined,
    },
    context.clock,
    context.signal,
  );
  if (result.end.kind === "exit" && result.end.code === 0) return null;
  return [describeEnd(result.end, ANSWER_MS), ...result.tail.slice(-1)].join(": ");
}

async function httpCheck(
  check: Check & { type: "http" },
  address: SocketAddress,
  context: CheckContext,
): Promise<string | null> {
  const where =
    address.path === null ? { host: address.host, port: address.port } : { socketPath: address.path };
  const options = { ...where, path: check.path, agent: false, signal: context.signal } as const;
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const answered = (response: http.IncomingMessage): void => {
    response.resume();
    const status = response.statusCode ?? 0;
    resolve(status >= 200 && status < 400 ? null : `${check.path} answered ${status}`);
  };
  const request = check.tls
    ? https.request({ ...options, rejectUnauthorized: false }, answered)
    : http.request(options, answered);
  request.on("error", (err) => resolve(`${check.path}: ${errnoOf(err) ?? messageOf(err)}`));
  const callOff = afterRunningMs(ANSWER_MS, () => {
    resolve(`${check.path}: ${NO_ANSWER}`);
    request.destroy();
  });
  request.once("close", callOff); // an answer without end is heard for no longer than one may take to come
  request.end();
  const outcome = await promise;
  context.signal.throwIfAborted();
  return outcome;
}

async function tcpCheck(address: SocketAddress, context: CheckContext): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const socket = net.connect(
    address.path === null ? { host: address.host, port: address.port } : { path: address.path },
  );
  const callOff = afterRunningMs(ANSWER_MS, () => resolve(NO_ANSWER));
  socket.once("connect", () => resolve(null));
  socket.on("error", (err) => resolve(errnoOf(err) ?? messageOf(err)));
  const stop = (): void => resolve("no answer");
  context.signal.addEventListener("abort", stop, { once: true });
  try {
    const outcome = await promise;
    if (outcome === null) takeLeave(socket);
    else socket.destroy();
    return outcome;
  } finally {
    callOff();
    context.signal.removeEventListener("abort", stop);
    context.signal.throwIfAborted();
  }
}

/** A server that speaks first is heard out: closed with something unread, a connection is reset, and some end of that. */
function takeLeave(socket: net.Socket): void {
  socket.resume().end();
  const timer = setTimeout(() => socket.destroy(), LEAVE_MS).unref();
  socket.unref().once("close", () => clearTimeout(timer));
}
