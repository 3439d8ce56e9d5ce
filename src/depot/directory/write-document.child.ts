import { directoryDocuments } from "./directory-documents.ts";

/** For tests: adds one to the number in document `count` of the folder that is named, as often as is said. */
const [dir = "", times = "1"] = process.argv.slice(2);
const store = directoryDocuments(dir);
const signal = new AbortController().signal;
for (let done = 0; done < Number(times);) {
  const read = await store.read("count", undefined, signal);
  const there = read === undefined || read === "same" ? undefined : read;
  const next = Number(there === undefined ? 0 : Buffer.from(there.bytes).toString()) + 1;
  done += await store.write("count", Buffer.from(String(next)), { if: there?.etag ?? null }, signal).then(
    () => 1,
    () => 0,
  );
}
