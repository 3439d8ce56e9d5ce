import { blobCache } from "./blob-cache.ts";

/** For tests: writes 300 bytes into the cache that is named, where a fault may kill it. */
const cache = blobCache({ dir: process.argv[2] ?? "", maxBytes: 2 ** 20, now: () => Date.now() });
await cache.write("packs/a", 0, Buffer.alloc(300, 7), true);
