import { createHmac, randomBytes } from "node:crypto";
import path from "node:path";
import { faultPoint } from "../../lib/process/fault.ts";
import { writeFileAtomic } from "../../lib/disk/files.ts";
import { silentLog, type Log } from "../../lib/process/log.ts";
import { readOwn } from "../node/own-file.ts";
import type { Caller } from "./registry.ts";

/** What a URL of the local registry is made of, the same after every restart. */
export interface Capabilities {
  /** Names this caller in a URL, and lets it in. */
  of(caller: Caller): string;
  readonly callerOf: (capability: string) => Caller | undefined;
  readonly callers: () => Iterable<Caller>;
  /** Where the registry listened last, or 0. */
  readonly port: number;
  keepPort(port: number): Promise<void>;
}

const SECRET_BYTES = 32;

/** A secret of this node's own, and the port beside it: `registry.json`, mode 0600. */
export async function openCapabilities(stateDir: string, log: Log = silentLog): Promise<Capabilities> {
  const file = path.join(stateDir, "registry.json");
  let { secret, port } = (await readOwn(file, parse, log)) ?? { secret: undefined, port: 0 };
  if (secret === undefined) {
    secret = randomBytes(SECRET_BYTES).toString("hex");
    await writeFileAtomic(file, JSON.stringify({ secret, port }));
    faultPoint("agent.registry-secret");
  }
  const key = Buffer.from(secret, "hex");
  const callers = new Map<string, Caller>();
  return {
    of(caller) {
      const { app, env, release, uses } = caller;
      const text = [app, env, release, ...uses].join("\0");
      const capability = createHmac("sha256", key).update(text).digest("hex").slice(0, 32);
      if (!callers.has(capability)) callers.set(capability, caller);
      return capability;
    },
    callerOf: (capability) => callers.get(capability),
    callers: () => callers.values(),
    get port() {
      return port;
    },
    async keepPort(at) {
      if (at === port) return;
      port = at;
      await writeFileAtomic(file, JSON.stringify({ secret, port }));
    },
  };
}

function parse(text: string): { readonly secret: string | undefined; readonly port: number } {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== "object" || parsed === null) return { secret: undefined, port: 0 };
  const secret = "secret" in parsed && typeof parsed.secret === "string" ? parsed.secret : undefined;
  return { secret, port: "port" in parsed ? Number(parsed.port) || 0 : 0 };
}
