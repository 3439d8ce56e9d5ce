/** Archives over HTTP: the whole one, and what `zstd --patch-from` makes of two of them. */
import fs from "node:fs/promises";
import path from "node:path";
import { serveFiles } from "../transfer/web.ts";
import { make, tarOf, type Field, type Peer, type Served } from "../transfer/peer.ts";
import type { Pair } from "../transfer/pairs.ts";

const UNPACK = "mkdir next; tar xf - -C next; rm -rf tree; mv next tree";

export const wholeArchive: Peer = {
  name: "tar.zst",
  needs: ["zstd", "curl"],
  serve: async (pair, field) => {
    const web = await serveFiles(field);
    await tarOf(field, pair.new, path.join(web.dir, "new.tar"));
    await make(field, web.dir, "zstd", "-q", "-3", "--rm", "new.tar");
    return {
      sender: [web.pid],
      ready: async () => undefined,
      receive: `curl -sf ${web.url}/new.tar.zst | zstd -dcq | { ${UNPACK}; }`,
      stop: () => web.stop(),
    };
  },
};

/** Both machines need the old archive beside the old tree. */
export const patch: Peer = { name: "zstd --patch-from", needs: ["zstd", "curl"], serve: servePatch };

async function servePatch(pair: Pair, field: Field): Promise<Served> {
  const web = await serveFiles(field);
  for (const side of ["old", "new"] as const)
    await tarOf(field, pair[side], path.join(web.dir, `${side}.tar`));
  const made = ["-q", "-3", "--long=31", "--patch-from=old.tar", "-o", "patch", "new.tar"];
  await make(field, web.dir, "zstd", ...made);
  const apply = "zstd -dcq --long=31 --patch-from=old.tar patch";
  return {
    sender: [web.pid],
    ready: (home) => fs.copyFile(path.join(web.dir, "old.tar"), path.join(home, "old.tar")),
    receive: `curl -sf -o patch ${web.url}/patch; ${apply} | { ${UNPACK}; }`,
    stop: () => web.stop(),
  };
}

export const zsync: Peer = { name: "zsync", needs: ["zsync", "zsyncmake"], serve: serveZsync };

/** The receiver keeps the old archive; what zsync gives back is the new one, which is unpacked. */
async function serveZsync(pair: Pair, field: Field): Promise<Served> {
  const web = await serveFiles(field);
  for (const side of ["old", "new"] as const)
    await tarOf(field, pair[side], path.join(web.dir, `${side}.tar`));
  await make(field, web.dir, "zsyncmake", "-u", `${web.url}/new.tar`, "-o", "new.tar.zsync", "new.tar");
  return {
    sender: [web.pid],
    ready: (home) => fs.copyFile(path.join(web.dir, "old.tar"), path.join(home, "old.tar")),
    receive: `zsync -q -i old.tar ${web.url}/new.tar.zsync; { ${UNPACK}; } < new.tar`,
    stop: () => web.stop(),
  };
}
