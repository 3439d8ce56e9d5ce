/**
 * Everything that deploying does on this side of the network, done a few times with an operator, a hub and nodes that
 * are made up: what was called is in the snapshot in its compiled form. Whatever it leaves in memory is in there too, so
 * it reads nothing of this machine, and every key is its own.
 */
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { systemClock } from "../../lib/clock.ts";
import { pathsFrom, type Paths } from "../../lib/paths.ts";
import { initCluster } from "../../operator/init.ts";
import { openOperator, type Operator } from "../../operator/operator.ts";
import { digestOfEnvelope, seal } from "../../trust/envelope.ts";
import { timeOf } from "../../trust/fields.ts";
import { generateSigner } from "../../trust/keys.ts";
import type { Context } from "../command/context.ts";
import { deploy } from "../deploy/deploy-bodies.ts";
import type { Io } from "../terminal/io.ts";
import { warmHub, type WarmNode } from "./warm-hub.ts";

const APP = "web";
const TIMES = 3;
const HOUR_MS = 3_600_000;
type Run = (words: readonly string[]) => Promise<number>;

const git = promisify(execFile);

/**
 * @param dir a folder of its own
 * @param run runs what was typed, and gives the exit code
 */
export async function warmUp(dir: string, run: Run): Promise<void> {
  const paths = pathsFrom({ SKEIN_HOME: path.join(dir, "home") });
  await refusedOnce(dir, run);
  const connect = await cluster(paths);
  const source = path.join(dir, "source");
  await fs.mkdir(source);
  await git("git", ["init", "-q", source]);
  for (let time = 0; time < TIMES; time++) await deployOnce(paths, connect, source, time);
}

/** What is typed is read, and a failure shown: no cluster is there. */
async function refusedOnce(dir: string, run: Run): Promise<void> {
  process.env["SKEIN_HOME"] = path.join(dir, "none");
  const exit = await run(["deploy", APP]);
  if (exit !== 7) throw new Error(`a deployment without a cluster ended with ${exit}`);
}

type Connect = () => ReturnType<typeof warmHub>;

async function cluster(paths: Paths): Promise<Connect> {
  const hubs = [{ address: "127.0.0.1:1", spki: "0".repeat(64) }];
  await initCluster({ paths, name: "warm", key: "file", hubs, clock: systemClock });
  // The hub is asked for nothing before it knows its nodes, and they need an operator.
  const nodes: WarmNode[] = [];
  const hub = warmHub(APP, nodes);
  using operator = await openOperator({
    paths,
    signal: new AbortController().signal,
    connect: () => hub,
  });
  for (const name of ["a", "b"]) nodes.push(await newNode(operator, name));
  return () => hub;
}

async function newNode({ charter, pin, signer }: Operator, name: string): Promise<WarmNode> {
  const [own, join] = [generateSigner(), generateSigner()];
  const [issued, expires] = [timeOf(Date.now()), timeOf(Date.now() + HOUR_MS)];
  const { cluster: id } = charter;
  const ticketBody = { cluster: id, charter: pin, key: join.pub, name, issued, expires };
  const ticket = await seal("ticket.1", { ...ticketBody, labels: {}, replace: null, floor: {} }, [signer]);
  const enrolBody = { cluster: id, ticket: digestOfEnvelope(ticket), key: own.pub, name, issued };
  const enrol = await seal("enrol.1", { ...enrolBody, sealing: generateSigner().pub }, [join, own]);
  return {
    documents: { ticket, enrol, label: null, revoke: null },
    view: {
      node: own.kid,
      name,
      labels: {},
      labelSerial: 0,
      address: "127.0.0.1",
      present: true,
      lastSeen: issued,
      version: null,
      boot: null,
      skewMs: 0,
      duplicate: false,
      revoked: false,
      knows: ["order.1"],
      apps: [],
    },
  };
}

async function deployOnce(paths: Paths, connect: Connect, source: string, time: number): Promise<void> {
  const manifest = `app: ${APP}\nrun: [node, server.js]\nlisten: 8000\nstrategy: { type: all_at_once, bake: 0s }\n`;
  await fs.writeFile(path.join(source, "skein.yaml"), manifest);
  await fs.writeFile(path.join(source, "server.js"), `console.log(${time});\n`);
  const who = ["-c", "user.name=warm", "-c", "user.email=warm@localhost"];
  await git("git", ["-C", source, "add", "."]);
  await git("git", [...who, "-C", source, "commit", "-q", "-m", `${time}`]);
  const { stdout } = await git("git", ["-C", source, "rev-parse", "HEAD"]);
  const { signal } = new AbortController();
  using operator = await openOperator({ paths, signal, connect });
  const context: Context = {
    io: silentIo,
    globals: {},
    env: "default",
    paths,
    cwd: source,
    signal,
    operator: () => Promise.resolve(operator),
    comeBack: () => undefined,
  };
  await deploy(context, [APP, stdout.trim()], { hooks: true });
}

const silentIo: Io = {
  json: false,
  quiet: false,
  verbose: false,
  live: false,
  columns: 80,
  print: () => undefined,
  say: () => undefined,
  raw: () => undefined,
  event: () => undefined,
  paint: (_colour, text) => text,
};
