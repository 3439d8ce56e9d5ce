import fs from "node:fs/promises";
import path from "node:path";
import { digestOf } from "../../lib/text/ids.ts";
import { keepNewestFiles } from "../../lib/disk/newest-files.ts";

/** Small blobs on this machine. It may hold any of them or none: whatever goes wrong is as if there were none. */
export interface KeptBlobs {
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, bytes: Uint8Array): Promise<void>;
}

/** More cost a look at each when the folder is tidied; fewer would miss the release before the last of many apps. */
const MOST = 256;
const DIGEST_CHARS = 64;
/** Of these the name carries the digest of the content. An index may be made anew under its name. */
const LASTING = /^(packs|rows|since)\/[0-9a-f]{64}$/;

/**
 * What publishing a release sends is what publishing the next one reads first: kept here, it need not be asked for.
 * A file is the digest of the bytes, then the bytes: one that was cut is none.
 */
export function keptBlobs(folder: string): KeptBlobs {
  const fileOf = (name: string): string => path.join(folder, name.replace("/", "-"));
  let tidied: Promise<void> | undefined;
  return {
    async read(name) {
      if (!LASTING.test(name)) return undefined;
      const file = await fs.readFile(fileOf(name)).catch(() => undefined);
      if (file === undefined) return undefined;
      const bytes = file.subarray(DIGEST_CHARS);
      return file.toString("latin1", 0, DIGEST_CHARS) === digestOf(bytes) ? bytes : undefined;
    },
    async write(name, bytes) {
      if (!LASTING.test(name)) return;
      try {
        await (tidied ??= makeRoom(folder));
        await fs.writeFile(fileOf(name), Buffer.concat([Buffer.from(digestOf(bytes)), bytes]), {
          mode: 0o600,
        });
      } catch {
        // It is asked for the next time.
      }
    },
  };
}

/** For what one command brings. */
async function makeRoom(folder: string): Promise<void> {
  await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  await keepNewestFiles(folder, { files: MOST, bytes: Infinity });
}
