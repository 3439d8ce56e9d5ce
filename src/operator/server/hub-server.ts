import { existsSync } from "node:fs";
import fs from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import type { HubAddress } from "../../api/hub-address.ts";
import { shareOfDisk } from "../../agent/source/node-cache.ts";
import { blobCache } from "../../depot/cache/blob-cache.ts";
import { forgiving } from "../../depot/cache/forgiving.ts";
import type { ReceivingDepot } from "../../depot/seam/depot.ts";
import { directoryDepot } from "../../depot/directory/directory.ts";
import { openDepot } from "../../depot/open-depot.ts";
import { spooledDepot } from "../../depot/cache/spooled.ts";
import type { TrafficLimits } from "../../depot/traffic/traffic.ts";
import { startHub, type HubOptions, type RunningHub } from "../../hub/start-hub.ts";
import { errnoOf, fromWire, SkeinError, toWire, type WireError } from "../../lib/errors/errors.ts";
import type { Log } from "../../lib/process/log.ts";
import type { Paths } from "../../lib/disk/paths.ts";
import { openSqliteStore, restoreSqliteStore } from "../../store/sqlite.ts";
import type { BackupStore } from "../../store/store.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import { fileSigner, generateKeyFile, spkiDigestOf, type LocalSigner } from "../../trust/keys/keys.ts";

/** A bucket that keeps a hub's blobs. */
export interface HubBucket {
  /** `s3://BUCKET/PREFIX` */
  readonly address: string;
  /** Where its server's address and credentials come from (depot/s3/settings.ts). */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Most that the cache of it takes here, in bytes. */
  readonly cacheBytes: number | undefined;
}

export interface ServeOptions {
  readonly paths: Paths;
  readonly listen: HubOptions["listen"];
  /** To begin with, where the store has none. */
  readonly charters: readonly Envelope[];
  /** Where blobs are to lie; absent: in a folder here. */
  readonly bucket?: HubBucket | undefined;
  /** Of blobs that come and go. Default: none. */
  readonly limits?: TrafficLimits | undefined;
  readonly log: Log;
  readonly version: string;
  readonly signal: AbortSignal;
}

const storeFile = (paths: Paths): string => path.join(paths.lib, "hub", "store.db");
const controlSocket = (paths: Paths): string => path.join(paths.run, "hub.sock");
const LONGEST_SOCKET_PATH = 107;

/** This machine's hub key, made when there is none. */
export async function hubKey(paths: Paths): Promise<LocalSigner> {
  await fs.mkdir(paths.etc, { recursive: true, mode: 0o755 });
  const file = path.join(paths.etc, "hub.key");
  const there = await fs.access(file).then(
    () => true,
    () => false,
  );
  return there ? await fileSigner(file) : await generateKeyFile(file);
}

export async function hubHere(paths: Paths, address: string): Promise<HubAddress> {
  return { spki: spkiDigestOf((await hubKey(paths)).pub), address };
}

/**
 * Runs a hub on this machine's folders until it is closed; a socket in the run folder lets `hub backup` reach it.
 * @throws SkeinError PORT_TAKEN, STORE_BUSY when one runs already, STORE_CORRUPT, CHARTER_PIN, DEPOT_*
 */
export async function serveHub(options: ServeOptions): Promise<RunningHub> {
  const { paths, listen, charters, limits, log, version, signal } = options;
  await makeStoreDir(paths);
  await fs.mkdir(paths.run, { recursive: true, mode: 0o755 });
  await using opened = new AsyncDisposableStack();
  const store = opened.use(await openSqliteStore(storeFile(paths)));
  const depot = await openHubDepot(options, opened);
  const key = await hubKey(paths);
  const hub = await startHub({ store, depot, paths, listen, key, charters, limits, log, signal, version });
  opened.use(hub);
  const control = await serveControl(paths, store);
  opened.defer(() => void control.close());
  const running = opened.move();
  const close = async (): Promise<void> => await running.disposeAsync();
  return { ...hub, close, [Symbol.asyncDispose]: close };
}

/** A folder here, or a bucket behind one. */
async function openHubDepot(
  { paths, bucket, log, signal }: ServeOptions,
  opened: AsyncDisposableStack,
): Promise<ReceivingDepot> {
  if (bucket === undefined) return directoryDepot(path.join(paths.lib, "depot"));
  const { address, env, cacheBytes } = bucket;
  const { depot: far } = opened.use(await openDepot(address, env));
  const dir = path.dirname(storeFile(paths));
  const maxBytes = cacheBytes ?? shareOfDisk(dir);
  const near = blobCache({ dir: path.join(dir, "cache"), maxBytes, now: () => Date.now() });
  return spooledDepot({
    far,
    address,
    spool: directoryDepot(path.join(dir, "spool")),
    near: forgiving(near, (err) => log.warn("the cache of the bucket rests", { err: String(err) })),
    signal,
  });
}

/** Others pass through `lib` to their apps; the store is nobody else's. */
async function makeStoreDir(paths: Paths): Promise<void> {
  await fs.mkdir(paths.lib, { recursive: true, mode: 0o755 });
  await fs.mkdir(path.dirname(storeFile(paths)), { recursive: true, mode: 0o700 });
}

/** A line with a file's name in, a line with how it went out. Only this user can reach it. */
async function serveControl(paths: Paths, store: BackupStore): Promise<net.Server> {
  const server = net.createServer((socket) => {
    socket.on("error", () => socket.destroy());
    createInterface({ input: socket }).once("line", (file) => {
      store.backup(file).then(
        () => socket.end("{}\n"),
        (err: unknown) => socket.end(`${JSON.stringify({ error: toWire(err) })}\n`),
      );
    });
  });
  const at = controlSocket(paths);
  if (Buffer.byteLength(at) > LONGEST_SOCKET_PATH) return server;
  // The store's own lock proves that no other hub is alive: what is left of one may go.
  await fs.rm(at, { force: true });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(at, resolve));
  await fs.chmod(at, 0o600);
  server.unref();
  return server;
}

/** Copies the store to `file`: through the hub that runs here, else from the file itself. */
export async function backupHub(paths: Paths, to: string): Promise<void> {
  const target = path.resolve(to);
  if (await askHub(paths, target)) return;
  const file = storeFile(paths);
  if (!existsSync(file)) {
    throw new SkeinError("NOT_FOUND", `no hub ran here: there is no ${file}`, {
      hint: "Run it on the hub's machine, as the hub's user.",
    });
  }
  await using store = await openSqliteStore(file);
  await store.backup(target);
}

async function askHub(paths: Paths, file: string): Promise<boolean> {
  const socket = net.connect({ path: controlSocket(paths) });
  try {
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    socket.write(`${file}\n`);
    for await (const line of createInterface({ input: socket })) {
      const { error } = JSON.parse(line) as { error?: WireError };
      if (error !== undefined) throw fromWire(error);
      return true;
    }
    throw new SkeinError("HUB_UNREACHABLE", "the hub ended before the backup was whole");
  } catch (err) {
    if (["ENOENT", "ECONNREFUSED"].includes(errnoOf(err) ?? "")) return false;
    throw err;
  } finally {
    socket.destroy();
  }
}

/** Puts a backup in the place of the store; no hub may run. It gets a new incarnation, and agents notice. */
export async function restoreHub(
  paths: Paths,
  file: string,
): Promise<{ readonly incarnation: string; readonly revision: number }> {
  await makeStoreDir(paths);
  return await restoreSqliteStore(path.resolve(file), storeFile(paths));
}
