import { randomInt } from "node:crypto";
import net from "node:net";

/**
 * Below what Linux gives to connections that go out (from 32,768 on): one of those would hold the port before whoever
 * it is meant for listens. Above what keepers and the demo take.
 */
const FIRST = 30_000;
const COUNT = 2_700;

/**
 * A TCP port that nobody listens on now. No other test of this machine is given it while this process lives: it holds
 * an abstract unix socket of the port's name.
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  const start = Math.floor(Math.random() * COUNT);
  for (let n = 0; n < COUNT; n++) {
    const port = FIRST + ((start + n) % COUNT);
    const lock = await listening({ path: `\0skein-test-port-${port}` });
    if (lock === undefined) continue;
    lock.unref();
    const trial = await listening({ host, port });
    if (trial === undefined) continue;
    await new Promise((resolve) => trial.close(resolve));
    return port;
  }
  throw new Error(`no free port between ${FIRST} and ${FIRST + COUNT - 1}`);
}

/** The first three numbers of loopback addresses that no other test of this machine is given while this process lives. */
export async function freeNetwork(): Promise<string> {
  for (;;) {
    const network = `127.${randomInt(16, 250)}.${randomInt(256)}`;
    const lock = await listening({ path: `\0skein-test-network-${network}` });
    if (lock === undefined) continue;
    lock.unref();
    return network;
  }
}

async function listening(where: net.ListenOptions): Promise<net.Server | undefined> {
  const server = net.createServer();
  const { promise, resolve, reject } = Promise.withResolvers<net.Server | undefined>();
  server.once("error", (err: NodeJS.ErrnoException) =>
    err.code === "EADDRINUSE" ? resolve(undefined) : reject(err),
  );
  server.listen(where, () => resolve(server));
  return await promise;
}
