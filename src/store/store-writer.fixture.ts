import { openSqliteStore, restoreSqliteStore } from "./sqlite.ts";

/** Ended by its fault points: writes pairs of keys, eight writers at once, and prints what was acknowledged. */
const [, , file = "", mode = "write"] = process.argv;

if (mode === "restore") await restoreSqliteStore(`${file}.backup`, file);
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
