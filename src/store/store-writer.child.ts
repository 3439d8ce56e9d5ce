import fs from "node:fs/promises";
import path from "node:path";
import { isSkeinError } from "../lib/errors/errors.ts";
import { openSqliteStore, restoreSqliteStore } from "./sqlite.ts";

/** Ended by its fault points: writes pairs of keys, eight writers at once, and prints what was acknowledged. */
const [, , file = "", mode = "write"] = process.argv;

if (mode === "restore") await restoreSqliteStore(`${file}.backup`, file);
else if (mode === "fill") await fill();
else await write();

async function write(): Promise<void> {
  await using store = await openSqliteStore(file);
  const start = (await store.range("", { limit: 1 })).revision * 1000;
  const writer = async (first: number): Promise<void> => {
    for (let n = first; n < first + 20; n++) {
      const then = ["a", "b"].map((half) => ({ op: "put", key: `/${n}/${half}`, value: String(n) }) as const);
      await store.txn({ compare: [], then });
      process.stdout.write(`${n}\n`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, n) => writer(start + n * 20)));
}

/** On a small disk: writes until it is full, makes room, goes on; prints how many writes were acknowledged. */
async function fill(): Promise<void> {
  const filler = path.join(path.dirname(file), "filler");
  await fs.writeFile(filler, Buffer.alloc(1024 * 1024));
  await using store = await openSqliteStore(file);
  const value = "x".repeat(20_000);
  const put = async (n: number): Promise<void> => {
    await store.txn({ compare: [], then: [{ op: "put", key: `/${String(n).padStart(6, "0")}`, value }] });
  };
  let acknowledged = 0;
  try {
    for (; acknowledged < 10_000; acknowledged++) await put(acknowledged);
  } catch (err) {
    if (!isSkeinError(err, "DISK_FULL")) throw err;
  }
  const { entries } = await store.range("/");
  if (entries.length !== acknowledged) throw new Error(`${entries.length} of ${acknowledged} are there`);
  await fs.rm(filler);
  await put(acknowledged);
  process.stdout.write(`${acknowledged + 1}\n`);
}
