/**
 * A measure for `deploy`: what no tool that promises as much can leave out, done by the barest means. A push over TLS
 * whose keys are pinned at both ends, a command that signs an order, a hub and two nodes that verify it and write it
 * down, the commit's files in a folder of each node, an instance of each started and asked until it answers. No
 * releases, no rollout, no port that is handed over, nothing undone and nothing that outlives a crash.
 */
import { execFile } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";
import { freePort } from "../../src/lib/testing/free-port.fixture.ts";
import { ephemeralIdentity } from "../../src/trust/connection/tls.ts";
import { Processes } from "../../test/support/processes.ts";
import { gitEnv, type SourceRepo, sourceRepo } from "../../test/support/repo.ts";
import { currentMoves, firstAnswer } from "../support/first-answer.ts";
import { serviceFiles } from "../support/service.ts";

const run = promisify(execFile);
const PROGRAM = path.join(import.meta.dirname, "floor-part.cjs");
const NODES = [
  { name: "a", host: "127.0.0.1" },
  { name: "b", host: "127.0.0.2" },
];

export interface Floor extends AsyncDisposable {
  /** Commits the next version and takes it to both nodes. @returns ms from the start of `git push` to both answers */
  deployNext(): Promise<number>;
}

export async function startFloor(signal: AbortSignal): Promise<Floor> {
  const stack = new AsyncDisposableStack();
  try {
    const folder = await fs.realpath(await fs.mkdtemp(path.join(os.tmpdir(), "skein-floor-")));
    stack.defer(() => fs.rm(folder, { recursive: true, force: true, maxRetries: 5 }));
    const processes = stack.use(new Processes(folder));
    const port = await freePort();
    const settings = path.join(folder, "settings.json");
    const keys = { hub: newKey(), operator: newKey(), node: newKey() };
    await fs.writeFile(settings, JSON.stringify({ port, keys }));
    const gitSettings = await writeGitSettings(folder, keys);
    await run("git", ["init", "-q", "--bare", path.join(folder, "web.git")], { env: gitEnv() });
    const start = (name: string, ...words: string[]): void => {
      const options = { cwd: folder, env: { ...gitEnv() }, log: path.join(folder, `${name}.log`) };
      processes.start(process.execPath, [PROGRAM, words[0] ?? "", settings, ...words.slice(1)], options);
    };
    start("hub", "hub", folder);
    await eventually("the hub listens", async () => await listens(port), { signal });
    for (const { name, host } of NODES) {
      await fs.mkdir(path.join(folder, name));
      start(name, "agent", path.join(folder, name), host);
    }
    const repo = await sourceRepo(path.join(folder, "source"));
    const push = [
      "-c",
      `include.path=${gitSettings}`,
      "push",
      "-q",
      `https://127.0.0.1:${port}/web`,
      "master",
    ];
    return {
      deployNext: async () => await deployNext({ folder, repo, settings, push }, signal),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (err) {
    await stack.disposeAsync();
    throw err;
  }
}

interface Parts {
  readonly folder: string;
  readonly repo: SourceRepo;
  readonly settings: string;
  /** git's words. */
  readonly push: readonly string[];
}

async function deployNext({ folder, repo, settings, push }: Parts, signal: AbortSignal): Promise<number> {
  const commit = await repo.commit(serviceFiles(0));
  const answers = NODES.map(async ({ name, host }) => {
    await currentMoves(path.join(folder, name), signal);
    const port = Number(await fs.readFile(path.join(folder, name, "current"), "utf8"));
    await firstAnswer(host, port, commit, signal);
  });
  const begin = performance.now();
  await run("git", push, { cwd: repo.dir, env: gitEnv(), signal });
  const deploy = ["--use-openssl-ca", PROGRAM, "deploy", settings, commit];
  const deployed = run(process.execPath, deploy, { cwd: repo.dir, env: gitEnv(), signal });
  await Promise.all(answers);
  const ms = performance.now() - begin;
  await deployed;
  return ms;
}

interface Key {
  readonly key: string;
  readonly cert: string;
  readonly fingerprint: string;
}

function newKey(): Key {
  const { key, cert } = ephemeralIdentity();
  return { key, cert, fingerprint: new X509Certificate(cert).fingerprint256 };
}

/** git holds to the hub's key and shows the operator's; of the machine's CAs none is read. */
async function writeGitSettings(
  folder: string,
  { hub, operator }: { readonly hub: Key; readonly operator: Key },
): Promise<string> {
  const pem = path.join(folder, "operator.pem");
  await fs.writeFile(pem, operator.key + operator.cert);
  const spki = new X509Certificate(hub.cert).publicKey.export({ type: "spki", format: "der" });
  const pin = createHash("sha256").update(spki).digest("base64");
  const lines = [
    "[http]",
    "\tsslVerify = false",
    `\tpinnedPubkey = sha256//${pin}`,
    ...["sslCert", "sslKey", "sslCAInfo"].map((name) => `\t${name} = ${pem}`),
    `\tsslCAPath = ${path.join(folder, "no-ca")}`,
    "\tsslVersion = tlsv1.3",
    "\tversion = HTTP/1.1",
    "",
  ];
  const file = path.join(folder, "git-settings");
  await fs.writeFile(file, lines.join("\n"));
  return file;
}

async function listens(port: number): Promise<boolean> {
  const socket = net.connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } finally {
    socket.destroy();
  }
}
