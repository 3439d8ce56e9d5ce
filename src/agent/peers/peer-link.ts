import type { NodeDocuments } from "../../api/member-schemas.ts";
import { splitAddress } from "../../api/hub-address.ts";
import type { BlobCache } from "../../depot/cache/blob-cache.ts";
import type { PieceRange } from "../../depot/cache/cached.ts";
import type { DepotReader } from "../../depot/seam/depot.ts";
import { PeerClient } from "../../depot/peers/peer-client.ts";
import type { PeerServer, PeerServerOptions } from "../../depot/peers/peer-server.ts";
import { Forest } from "../../depot/peers/picking.ts";
import type { ProvenBlob } from "../../depot/peers/proof.ts";
import { Standing } from "../../depot/peers/standing.ts";
import { Swarm, type AskOptions, type PeerGift, type PeerNet } from "../../depot/peers/swarm.ts";
import type { Traffic } from "../../depot/traffic/traffic.ts";
import { hasPassed, type Clock } from "../../lib/time/clock.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import { hostPortText } from "../../lib/text/host-port.ts";
import type { KeyId } from "../../lib/text/ids.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import { seal, type Envelope } from "../../trust/document/envelope.ts";
import { timeOf } from "../../trust/document/fields.ts";
import type { LocalSigner } from "../../trust/keys/keys.ts";
import type { NodeState } from "../../trust/node/node-state.ts";
import type { TlsIdentity } from "../../trust/connection/tls.ts";
import type { PeerHints } from "./peer-hints.ts";
import { Members } from "./members.ts";

export interface PeerLinkOptions {
  readonly signer: LocalSigner;
  readonly identity: TlsIdentity;
  readonly state: () => Pick<NodeState, "charter" | "pin">;
  /** Who tells of peers now; undefined: nobody does. */
  readonly hints: () => PeerHints | undefined;
  /** What others are told. */
  readonly address: () => string;
  readonly bind: string;
  /** 0: any free one. */
  readonly port: number;
  readonly give: PeerServerOptions["give"];
  readonly traffic: Traffic;
  readonly clock: Clock;
}

/** The list of peers is looked at anew when it is older, in ms; where nothing changed that costs a few bytes. */
const LIST_MS = 10_000;
const LIST_WAIT_MS = 3000;
/** A hub may have to make the delta first: who gave up sooner would fetch all of it from the hub, as would all others. */
const DELTA_WAIT_MS = 12_000;
const PROOFS = 128;
/** For what ends by itself. */
const NEVER = new AbortController().signal;

interface PeersKnown {
  readonly etag: string;
  /** When it was asked for last. */
  readonly at: number;
  /** When it was answered last; undefined: never. */
  readonly heard: number | undefined;
  readonly from: PeerHints;
}

/** This node among its peers: it serves them, knows of them, and asks them. */
export class PeerLink implements PeerNet, AsyncDisposable {
  readonly #options: PeerLinkOptions;
  readonly #members: Members;
  readonly #client: PeerClient;
  readonly #standing: Standing;
  readonly #server: PeerServer;
  #list: PeersKnown | undefined;
  #places: ReadonlyMap<string, string> = new Map();
  #forest: Forest;
  #looking: Promise<void> | undefined;
  readonly #proofs = new Map<string, Promise<ProvenBlob | undefined>>();
  #told: { readonly address: string; readonly endpoint: Envelope } | undefined;

  private constructor(options: PeerLinkOptions, members: Members, server: PeerServer) {
    this.#options = options;
    this.#members = members;
    this.#server = server;
    this.#client = new PeerClient(options.identity);
    this.#standing = new Standing(() => performance.now());
    this.#forest = new Forest([options.signer.kid]);
  }

  /** Listens. @throws SkeinError PORT_TAKEN */
  static async open(options: PeerLinkOptions): Promise<PeerLink> {
    const { state, clock, hints, identity, bind, port, give, traffic } = options;
    const documents = async (node: KeyId, signal: AbortSignal): Promise<NodeDocuments> => {
      const from = hints();
      if (from === undefined) throw new SkeinError("HUB_UNREACHABLE", "nobody tells of peers");
      return await from.documents(node, signal);
    };
    let made: PeerLink | undefined;
    const isListed = async (node: KeyId): Promise<boolean> => (await made?.isListed(node)) ?? false;
    const members = new Members({ state, documents, isListed, clock });
    const admits = async (node: KeyId): Promise<boolean> => (await members.spki(node)) !== undefined;
    const { servePeers } = await import("../../depot/peers/peer-server.ts");
    const pace: PeerServerOptions["pace"] = async (bytes, signal) => await traffic.up(bytes, signal);
    const server = await servePeers({ identity, host: bind, port, admits, give, pace });
    return (made = new PeerLink(options, members, server));
  }

  get self(): string {
    return this.#options.signer.kid;
  }

  /** What others are told of where this node listens; signed anew when it has another address. */
  async endpoint(): Promise<Envelope> {
    const address = this.#options.address();
    const told = this.#told;
    if (told?.address === address) return told.endpoint;
    // Kept once it is signed: a failure would be told with each report from then on.
    const endpoint = await endpointAt(this.#options, address, this.#server.port);
    this.#told = { address, endpoint };
    return endpoint;
  }

  swarm(origin: DepotReader, near: BlobCache): Swarm {
    return new Swarm({ net: this, near, origin, standing: this.#standing });
  }

  async forest(signal: AbortSignal): Promise<Forest> {
    const hints = this.#options.hints();
    const list = this.#list;
    const now = this.#options.clock.now();
    const isOld = list === undefined || list.from !== hints || hasPassed(LIST_MS, list.at, now);
    if (hints !== undefined && isOld) {
      this.#looking ??= this.#look(hints).finally(() => (this.#looking = undefined));
      await this.#looking;
      signal.throwIfAborted();
    }
    return this.#forest;
  }

  /** Was the node named by who tells of peers, some seconds ago at most? */
  async isListed(node: KeyId): Promise<boolean> {
    const { clock, hints } = this.#options;
    const from = hints();
    if (from?.listsMembers !== true) return false;
    await this.forest(NEVER);
    const heard = (this.#list?.from === from ? this.#list.heard : undefined) ?? -Infinity;
    return !hasPassed(LIST_MS + LIST_WAIT_MS, heard, clock.now()) && this.#places.has(node);
  }

  async proof(name: string): Promise<ProvenBlob | undefined> {
    const known = this.#proofs.get(name) ?? this.#ask(name);
    keepNewest(this.#proofs, PROOFS, name, known);
    const proof = await known;
    // Who is given the bytes has no more questions.
    if (proof?.bytes !== undefined) this.#proofs.delete(name);
    return proof;
  }

  async ask(node: string, want: PieceRange, options: AskOptions): Promise<PeerGift> {
    const address = this.#places.get(node);
    const spki = address === undefined ? undefined : await this.#members.spki(node as KeyId);
    if (address === undefined || spki === undefined) {
      throw new SkeinError("UNKNOWN_CLIENT", `nothing proves that ${node} is a node of the cluster`);
    }
    const { traffic } = this.#options;
    await traffic.down(want.end - want.start, options.signal);
    // Only once the peer sends: held before, two nodes that wait for each other's piece would keep both from fetching.
    const turn = async (signal: AbortSignal): Promise<Disposable> => await traffic.turn(signal);
    return await this.#client.ask(node, { ...splitAddress(address), spki }, want, { ...options, turn });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client[Symbol.dispose]();
    await this.#server[Symbol.asyncDispose]();
  }

  /** Where nobody answers, what was known stays. */
  async #look(hints: PeerHints): Promise<void> {
    const at = this.#options.clock.now();
    const known = this.#list?.from === hints ? this.#list : undefined;
    const before = known?.etag;
    try {
      const found = await hints.list(before, AbortSignal.timeout(LIST_WAIT_MS));
      this.#list = { etag: found?.etag ?? before ?? "", at, heard: at, from: hints };
      if (found === undefined) return;
      this.#places = new Map(found.peers.map(({ node, address }) => [node, address]));
      this.#forest = new Forest([this.self, ...this.#places.keys()]);
    } catch {
      this.#list = { etag: before ?? "", at, heard: known?.heard, from: hints };
    }
  }

  /** Asked once for each blob; where nobody answers, it is asked again with the next piece. */
  #ask(name: string): Promise<ProvenBlob | undefined> {
    const waitMs = name.startsWith("deltas/") ? DELTA_WAIT_MS : LIST_WAIT_MS;
    const asking = (async () => await this.#options.hints()?.proof(name, AbortSignal.timeout(waitMs)))();
    return asking.catch(() => {
      this.#proofs.delete(name);
      return undefined;
    });
  }
}

async function endpointAt(
  { signer, state, clock }: PeerLinkOptions,
  address: string,
  port: number,
): Promise<Envelope> {
  const now = clock.now();
  const body = {
    cluster: state().charter.cluster,
    node: signer.kid,
    key: signer.pub,
    incarnation: now,
    addresses: [hostPortText({ host: address, port })],
    at: timeOf(now),
  };
  return await seal("endpoint.1", body, [signer]);
}
