/** A store of chunks over HTTP, the old tree as seed. */
import { serveFiles } from "../transfer/web.ts";
import { copyOld, make, type Field, type Peer, type Served } from "../transfer/peer.ts";
import type { Pair } from "../transfer/pairs.ts";

export const casync: Peer = { name: "casync", needs: ["casync"], serve };

async function serve(pair: Pair, field: Field): Promise<Served> {
  const web = await serveFiles(field);
  await make(field, web.dir, "casync", "make", "new.caidx", pair.new);
  return {
    sender: [web.pid],
    ready: (home) => copyOld(pair, field, home),
    receive: `casync extract --seed=tree ${web.url}/new.caidx next; rm -rf tree; mv next tree`,
    stop: () => web.stop(),
  };
}
