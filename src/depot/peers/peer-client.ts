/** Asks other nodes for pieces, over a few kept connections to each, to few of them at a time. */
import type { IncomingMessage } from "node:http";
import { countIn } from "../../lib/text/count-in.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { hostPortText } from "../../lib/text/host-port.ts";
import { ownTimeMs } from "../../lib/time/own-time.ts";
import { pinnedClient, type PinnedClient } from "../../trust/connection/http-client.ts";
import type { TlsIdentity } from "../../trust/connection/tls.ts";
import type { PieceRange } from "../cache/cached.ts";
import { ENDS_HEADER, HELD_HEADER, PIECES_PATH, PROCESSING_MS, WAITED_HEADER } from "./peer-wire.ts";
import { LOOK_MS, Patience, type RunOut } from "./patience.ts";
import type { AskOptions, PeerGift } from "./swarm.ts";

/** Where a peer is, and the key that it must hold. */
export interface PeerPlace {
  readonly host: string;
  readonly port: number;
  readonly spki: string;
}

const CONNECT_MS = 1500;
/** Who says nothing for so long is gone. */
const SILENT_MS = 4 * PROCESSING_MS;
/** Never reached: patience ends before. */
const WHOLE_MS = 120_000;
const SOCKETS = 3;
/** Peers to which connections are kept; beyond that the one used longest ago is hung up on. */
const PEERS = 96;

export class PeerClient implements Disposable {
  readonly #identity: TlsIdentity;
  /** node → its connections; the one used longest ago first. */
  readonly #links = new Map<string, { readonly place: PeerPlace; readonly client: PinnedClient }>();

  constructor(identity: TlsIdentity) {
    this.#identity = identity;
  }

  /** @throws SkeinError BLOB_MISSING, TOO_MANY, TIMEOUT (no patience left), PIN_MISMATCH, HUB_UNREACHABLE */
  async ask(node: string, place: PeerPlace, want: PieceRange, options: AskOptions): Promise<PeerGift> {
    const wait = { silentMs: SILENT_MS, wholeMs: options.patienceMs };
    const patience = new Patience(wait, ownTimeMs());
    const stop = new AbortController();
    const look = (): void => {
      const out = patience.look(ownTimeMs());
      if (out !== undefined) stop.abort(impatient(place, out));
    };
    const timer = setInterval(look, LOOK_MS);
    const signal = AbortSignal.any([options.signal, stop.signal]);
    try {
      const response = await this.#client(node, place).send({
        method: "GET",
        path: `${PIECES_PATH}${want.name}`,
        headers: {
          range: `bytes=${want.start}-${want.end - 1}`,
          ...(options.held ? { [HELD_HEADER]: "1" } : {}),
        },
        timeoutMs: WHOLE_MS,
        onProcessing: () => patience.heard(),
        signal,
      });
      patience.sending();
      using _turn = await patience.pausedFor(options.turn?.(signal));
      const bytes = await bodyOf(response, want.end - want.start);
      const { headers } = response;
      return { bytes, ends: headers[ENDS_HEADER] === "1", waitedMs: countIn(headers[WAITED_HEADER]) ?? 0 };
    } catch (err) {
      throw stop.signal.aborted ? stop.signal.reason : err;
    } finally {
      clearInterval(timer);
    }
  }

  [Symbol.dispose](): void {
    for (const { client } of this.#links.values()) client.close();
    this.#links.clear();
  }

  #client(node: string, place: PeerPlace): PinnedClient {
    const known = this.#links.get(node);
    const isSame = known?.place.host === place.host && known.place.port === place.port;
    if (known !== undefined && !isSame) known.client.close();
    const client = known !== undefined && isSame ? known.client : this.#connect(place);
    this.#links.delete(node);
    this.#links.set(node, { place, client });
    const [oldest] = this.#links;
    if (this.#links.size > PEERS && oldest !== undefined) {
      oldest[1].client.close();
      this.#links.delete(oldest[0]);
    }
    return client;
  }

  #connect({ host, port, spki }: PeerPlace): PinnedClient {
    return pinnedClient({
      host,
      port,
      pins: [spki],
      identity: this.#identity,
      connectTimeoutMs: CONNECT_MS,
      maxSockets: SOCKETS,
    });
  }
}

function impatient(place: PeerPlace, out: RunOut): SkeinError {
  const peer = hostPortText(place);
  if (out === "silent") return new SkeinError("HUB_UNREACHABLE", `${peer} was silent for ${SILENT_MS} ms`);
  return new SkeinError("TIMEOUT", `${peer} took too long to give a piece`, {
    data: { sending: out === "slow" },
  });
}

/** The answer's bytes. @throws SkeinError IO when it is longer than what was asked for, or was cut */
async function bodyOf(response: IncomingMessage, most: number): Promise<Uint8Array> {
  const length = Number(response.headers["content-length"]);
  if (!(length <= most)) {
    response.destroy();
    throw new SkeinError("IO", "a peer gave more than it was asked for");
  }
  const buffer = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  for await (const bytes of response as AsyncIterable<Uint8Array>) {
    buffer.set(bytes, filled);
    filled += bytes.length;
  }
  if (filled < length) throw new SkeinError("IO", "a peer's answer was cut off");
  return buffer;
}
