/** A daemon over TCP, as rsync is served where no shell is wanted: no ssh, no encryption. */
import fs from "node:fs/promises";
import path from "node:path";
import { listening } from "../transfer/daemon.ts";
import { copyOld, PORTS, type Field, type Peer, type Served } from "../transfer/peer.ts";
import type { Pair } from "../transfer/pairs.ts";

export function rsync(flags: "-a" | "-az"): Peer {
  return {
    name: `rsync ${flags}`,
    needs: ["rsync"],
    serve: (pair, field) => serve(flags, pair, field),
  };
}

async function serve(flags: string, pair: Pair, field: Field): Promise<Served> {
  const config = path.join(field.dir, "rsyncd.conf");
  const module = `[new]\npath = ${pair.new}\n`;
  await fs.writeFile(config, `uid = root\ngid = root\nuse chroot = no\nread only = yes\n${module}`);
  const address = [`--address=${field.wire.sender}`, `--port=${PORTS.rsync}`];
  const daemon = await listening(field, PORTS.rsync, "rsync", [
    "--daemon",
    "--no-detach",
    `--config=${config}`,
    ...address,
  ]);
  const url = `rsync://${field.wire.sender}:${PORTS.rsync}/new/`;
  return {
    sender: [daemon.pid],
    ready: (home) => copyOld(pair, field, home),
    receive: `rsync ${flags} --delete ${url} tree/`,
    stop: () => daemon.stop(),
  };
}
