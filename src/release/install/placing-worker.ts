/** Makes folders, opens frames and puts their files down in a thread of its own; started by `placing-thread.ts`. */
import { parentPort } from "node:worker_threads";
import { carried } from "../../lib/errors/carried-error.ts";
import { faultPoint } from "../../lib/process/fault.ts";
import { freeNow } from "../../lib/memory/free.ts";
import { inflate, proveFrame } from "../tree/pack.ts";
import type { Placed, ToMake, ToPlace } from "./placing-thread.ts";
import { makeFolder, putFile } from "./put-file.ts";

/** A smaller buffer may share its memory with others, and cannot be given away. */
const OWN_BYTES = 64 * 1024;

parentPort?.on("message", (order: ToPlace | ToMake) => {
  const placed = "folders" in order ? make(order) : place(order);
  const isGiven = "raw" in placed && placed.raw.length >= OWN_BYTES;
  parentPort?.postMessage(placed, isGiven ? [placed.raw.buffer] : []);
});

/** Nothing is put down of a frame of which a single chunk is wrong: another depot may have it right. */
function place({ bytes, raw: length, entries, files, back }: ToPlace): Placed {
  try {
    const raw = inflate(bytes, length);
    freeNow(bytes);
    proveFrame(Buffer.from(entries.buffer), raw);
    const inodes = files.map(({ file, at, size, look }) => {
      faultPoint("install.placed");
      return putFile(file, raw.subarray(at, at + size), look);
    });
    if (back) return { inodes, raw: raw as Buffer<ArrayBuffer> };
    freeNow(raw);
    return { inodes };
  } catch (err) {
    return { failure: carried(err) };
  }
}

function make({ folders }: ToMake): Placed {
  try {
    for (const folder of folders) makeFolder(folder);
    return { inodes: [] };
  } catch (err) {
    return { failure: carried(err) };
  }
}
