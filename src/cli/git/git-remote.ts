/**
 * `git-remote-skein`: what git starts for `skein://HUB/REPO`. It speaks git's remote-helper protocol (gitremote-helpers(7),
 * capability `connect`) as far as needed to hand git a raw connection to the hub, then only carries bytes. It ends when
 * the hub ends the connection: then the refs are final, so whoever fetches after `git push` returned finds the push.
 */
import type { Duplex, Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { splitAddress, type HubAddress } from "../../api/hub-address.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { appName } from "../../trust/document/fields.ts";
import type { PushWatch } from "./push-watch.ts";

export type GitService = "git-upload-pack" | "git-receive-pack";

export interface SkeinUrl {
  /** `host:port`, `host`, or empty: any hub of the charter. */
  readonly hub: string;
  readonly repo: string;
}

export interface GitRemoteOptions {
  readonly input: Readable;
  readonly output: Writable;
  readonly connect: (service: GitService) => Promise<Duplex>;
  /** Looks on at what is pushed. */
  readonly watch?: PushWatch;
}

const MAX_LINE = 1024;

/** @throws SkeinError USAGE */
export function parseSkeinUrl(url: string): SkeinUrl {
  const match = /^(?:skein::)?skein:\/\/([^/\s]*)\/([^/\s]+?)(?:\.git)?\/?$/.exec(url);
  const [, hub, repo] = match ?? [];
  if (hub === undefined || repo === undefined)
    throw new SkeinError("USAGE", `'${url}' is not skein://HUB/REPO`, {
      hint: "For example skein://hub.example.com:7400/shop.",
      data: { url },
    });
  if (appName.safeParse(repo).success) return { hub, repo };
  throw new SkeinError("USAGE", `'${repo}' is no repository's name on a hub`, {
    hint: `It is called like its app, with a-z, 0-9 and -, for example skein://${hub}/shop-2`,
    data: { url },
  });
}

/** The hubs among those known that a URL means; an address that no one lists is tried with the known keys. */
export function hubsNamed(hub: string, known: readonly HubAddress[]): HubAddress[] {
  if (hub === "") return [...known];
  const listed = known.filter(({ address }) => address === hub || splitAddress(address).host === hub);
  if (listed.length > 0) return listed;
  splitAddress(hub);
  const pins = new Set(known.map(({ spki }) => spki));
  return [...pins].map((spki) => ({ spki, address: hub }));
}

/** Talks to git until its connection has ended. @throws SkeinError GIT_FAILED, HUB_UNREACHABLE and what `connect` throws */
export async function gitRemote(options: GitRemoteOptions): Promise<void> {
  const { input } = options;
  try {
    await converse(options);
  } finally {
    // An input that is left open would keep the process.
    input.destroy();
  }
}

async function converse({ input, output, connect, watch }: GitRemoteOptions): Promise<void> {
  for (;;) {
    const line = await readLine(input);
    if (line === undefined || line === "") return;
    if (line === "capabilities") {
      output.write("connect\n\n");
      continue;
    }
    const [, service] = /^connect (git-(?:upload|receive)-pack)$/.exec(line) ?? [];
    if (service === undefined)
      throw new SkeinError("GIT_FAILED", `git asked for '${line}', which is not offered`);
    const socket = await connect(service as GitService);
    output.write("\n");
    return await carry(input, output, socket, service === "git-receive-pack" ? watch : undefined);
  }
}

/** Both ways until the hub ends its side. git ends its own earlier, or not at all. */
async function carry(
  input: Readable,
  output: Writable,
  socket: Duplex,
  watch: PushWatch | undefined,
): Promise<void> {
  if (watch !== undefined) {
    input.on("data", (bytes: Buffer) => watch.sent(bytes));
    socket.on("data", (bytes: Buffer) => watch.received(bytes));
  }
  input.pipe(socket);
  // When git has gone there is nobody left to tell.
  output.on("error", () => socket.destroy());
  socket.pipe(output);
  try {
    await finished(socket, { writable: false });
  } catch (err) {
    throw new SkeinError("HUB_UNREACHABLE", "the connection to the hub was cut", { cause: err });
  } finally {
    input.unpipe(socket);
    socket.destroy();
  }
}

/** One line without its end, leaving every byte after it unread; undefined at the end of the input. */
async function readLine(input: Readable): Promise<string | undefined> {
  const bytes: number[] = [];
  for (;;) {
    const byte = (input.read(1) as Buffer | null)?.[0];
    if (byte === undefined) {
      if (!(await moreOf(input))) return bytes.length === 0 ? undefined : String.fromCharCode(...bytes);
      continue;
    }
    if (byte === 0x0a) return String.fromCharCode(...bytes);
    bytes.push(byte);
    if (bytes.length > MAX_LINE) throw new SkeinError("GIT_FAILED", "git sent a line that is too long");
  }
}

/** Waits until there is something to read; false at the end. */
async function moreOf(input: Readable): Promise<boolean> {
  if (input.readableEnded) return false;
  return await new Promise((resolve, reject) => {
    const settle = (more: boolean) => (): void => {
      input.off("readable", onReadable).off("end", onEnd).off("error", reject);
      resolve(more);
    };
    const onReadable = settle(true);
    const onEnd = settle(false);
    input.on("readable", onReadable).on("end", onEnd).on("error", reject);
  });
}
