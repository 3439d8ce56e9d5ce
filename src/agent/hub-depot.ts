import type { HubClient } from "../api/hub-client.ts";
import type { ByteRange, DepotReader } from "../depot/depot.ts";
import { SkeinError } from "../lib/errors.ts";

/** The blobs of a hub, for reading. */
export function hubDepot(client: HubClient): DepotReader {
  return {
    kind: "hub",
    get name() {
      return client.name;
    },
    async has(names, signal) {
      const { have } = await client.call("depotHas", { body: { names }, signal });
      return new Set(have);
    },
    get: (name, signal, range) => blob(client, name, signal, range),
    async *list(prefix, signal) {
      for (let after = ""; ;) {
        const { names, next } = await client.call("depotList", { query: { prefix, after }, signal });
        yield* names;
        if (next === null) return;
        after = next;
      }
    },
  };
}

async function* blob(
  client: HubClient,
  name: string,
  signal: AbortSignal,
  range: ByteRange | undefined,
): AsyncGenerator<Uint8Array, void> {
  const path = `/v1/depot/blobs/${name.split("/").map(encodeURIComponent).join("/")}`;
  const response = await client.raw({ method: "GET", path, headers: rangeHeader(range), signal });
  try {
    yield* response as AsyncIterable<Uint8Array>;
  } catch (err) {
    signal.throwIfAborted();
    throw new SkeinError("HUB_UNREACHABLE", `${client.name}: the blob was cut off`, { cause: err });
  } finally {
    response.destroy();
  }
}

function rangeHeader(range: ByteRange | undefined): Readonly<Record<string, string>> {
  if (range === undefined) return {};
  const last = range.end === undefined ? "" : String(range.end - 1);
  return { range: `bytes=${range.start}-${last}` };
}
