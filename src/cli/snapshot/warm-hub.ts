import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { CODED, encode } from "../../api/coding.ts";
import type * as s from "../../api/schemas.ts";
import { SkeinError } from "../../lib/errors.ts";
import { digestOfEnvelope, readUnverified } from "../../trust/envelope.ts";
import type { PinnedClient, RequestOptions } from "../../trust/http-client.ts";
import { releaseIdOf, rosterDigest } from "../../trust/documents.ts";

/** What one node of the hub has, and proves. */
export interface WarmNode {
  readonly view: s.NodeView;
  readonly documents: s.NodeDocuments;
}

type Asked = RequestOptions & { readonly words: readonly string[] };

/**
 * As much of a hub as a deployment asks for, in memory: there is no network while a snapshot is made. It believes
 * whatever it is told; what it answers is checked as any hub's answer is.
 */
export function warmHub(app: string, nodes: readonly WarmNode[]): PinnedClient {
  const hub = new WarmHub(app, nodes);
  const close = (): void => undefined;
  return {
    address: "memory",
    send: async (request) => await hub.answer(request),
    upgrade: () => Promise.reject(new Error("a warm hub has no git")),
    close,
    [Symbol.dispose]: close,
  };
}

class WarmHub {
  readonly #app: string;
  readonly #nodes: readonly WarmNode[];
  readonly #releases: s.ReleaseView[] = [];
  readonly #blobs = new Map<string, Buffer>();
  #head: s.OrderView | null = null;
  #revision = 1;

  constructor(app: string, nodes: readonly WarmNode[]) {
    this.#app = app;
    this.#nodes = nodes;
  }

  async answer(request: RequestOptions): Promise<IncomingMessage> {
    const [path = ""] = request.path.split("?");
    const words = path.split("/").slice(2);
    const given = this.#given({ ...request, words });
    if (given instanceof Uint8Array) return response(given, {});
    const bytes = Buffer.from(JSON.stringify(given));
    if (request.headers?.["accept-encoding"] !== CODED) return response(bytes, {});
    return response(await encode(bytes), { "content-encoding": CODED });
  }

  // Private

  #given(asked: Asked): unknown {
    const [what = "", one] = asked.words;
    const revision = this.#revision;
    const answers: Readonly<Record<string, () => unknown>> = {
      "GET charters": () => ({ charters: [] }),
      "GET apps": () => ({ apps: this.#apps(), revision }),
      "GET nodes": () => (one === undefined ? this.#nodeList() : this.#documentsOf(one)),
      "GET releases": () => (one === undefined ? { releases: this.#releases.slice(0, 1) } : undefined),
      "GET rollouts": () => this.#rollout(),
      "POST orders": () => this.#takeOrder(bodyOf(asked) as s.OrderPost),
      "POST releases": () => this.#takeRelease(bodyOf(asked) as ReleasePost),
    };
    const answer = what === "depot" ? this.#depot(asked) : answers[`${asked.method} ${what}`]?.();
    if (answer === undefined) throw new SkeinError("NOT_FOUND", `nothing at ${asked.path}`);
    return answer;
  }

  #nodeList(): s.NodeList {
    return { nodes: this.#nodes.map(({ view }) => view), revision: this.#revision };
  }

  #documentsOf(id: string): s.NodeDocuments | undefined {
    return this.#nodes.find(({ view }) => view.node === id)?.documents;
  }

  #depot(asked: Asked): unknown {
    const [, what, ...name] = asked.words;
    if (what === "list") return { names: [...this.#blobs.keys()], next: null };
    if (what === "has") {
      const { names } = bodyOf(asked) as { readonly names: readonly string[] };
      return { have: names.filter((one) => this.#blobs.has(one)) };
    }
    const blob = this.#blobs.get(name.join("/"));
    if (blob === undefined) throw new SkeinError("BLOB_MISSING", `no ${name.join("/")}`);
    return blob;
  }

  #apps(): s.AppView[] {
    if (this.#head === null) return [];
    const nodes = this.#nodes.map(({ view }) => view);
    const [head, releases] = [this.#head, this.#releases];
    return [{ app: this.#app, env: "default", head, standing: head, releases, nodes }];
  }

  #takeRelease({ release: envelope, blobs }: ReleasePost): s.ReleaseView {
    for (const { name, base64 } of blobs ?? []) this.#blobs.set(name, Buffer.from(base64, "base64"));
    const release = readUnverified(envelope, "release.1");
    const { app, commit, created, files, bytes } = release;
    const view = { id: releaseIdOf(release), app, commit, created, files, bytes, release: envelope };
    this.#releases.unshift(view);
    return view;
  }

  #takeOrder({ order, settle, roster }: s.OrderPost): { digest: string } {
    const { app, env, epoch, seq, release, state, issued, ...rest } = readUnverified(order, "order.1");
    if (rest.roster !== rosterDigest(roster)) throw new SkeinError("BAD_REQUEST", "another roster");
    const digest = digestOfEnvelope(order);
    this.#head = { digest, app, env, epoch, seq, release, state, issued, order, settle, roster };
    this.#revision += 1;
    return { digest };
  }

  /** It goes on at each look, and is at its end at the third. */
  #rollout(): s.RolloutView | undefined {
    if (this.#head === null) return undefined;
    const { digest, app, env, release } = this.#head;
    this.#revision += 1;
    const isOver = this.#revision % 3 === 0;
    const nodes = this.#nodes.map(({ view: { node, name } }) => ({
      node,
      name,
      batch: 0,
      present: true,
      gate: "go" as const,
      state: isOver ? "ok" : "starting",
      verdict: isOver ? ("ok" as const) : null,
      code: null,
      message: null,
      bytesDone: 0,
      bytesTotal: null,
      note: null,
      cut: 0,
    }));
    const verdict = isOver ? { ok: true, code: null, message: null } : null;
    const phase = isOver ? ("ok" as const) : ("running" as const);
    return { order: digest, app, env, release, phase, nodes, verdict, revision: this.#revision };
  }
}

interface ReleasePost {
  readonly release: s.ReleaseView["release"];
  readonly blobs?: readonly { readonly name: string; readonly base64: string }[];
}

function bodyOf({ body }: Asked): unknown {
  return typeof body === "string" || body instanceof Uint8Array ? JSON.parse(String(body)) : undefined;
}

function response(bytes: Uint8Array, headers: Readonly<Record<string, string>>): IncomingMessage {
  const body = Readable.from(bytes.length === 0 ? [] : [bytes]);
  // Of a message only these are looked at, besides its body.
  return Object.assign(body, { statusCode: 200, headers }) as unknown as IncomingMessage;
}
