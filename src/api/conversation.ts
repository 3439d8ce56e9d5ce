import type { IncomingMessage } from "node:http";
import { isSkeinError } from "../lib/errors/errors.ts";
import type { AlongBlob } from "./along-blob.ts";
import {
  AFTER_HEADER,
  CODED,
  CODED_AFTER,
  contentIn,
  encode,
  sharedOf,
  type Content,
  type Shared,
} from "./body-coding.ts";
import { bodyAfter, bodyOf } from "./wire.ts";

type Headers = Readonly<Record<string, string>>;

/** Reports that the hub may have taken last, when its word of that did not come. */
const SAID_KEPT = 4;

/** What a node was told last and what it said last, after which its hub and it code what they send. */
export class Conversation {
  #told: Content | undefined;
  /** Reports as they were sent, the newest first. */
  #said: readonly Buffer[] = [];
  /** The last one of them that the hub said it took. */
  #taken: Buffer | undefined;
  /** The last blob that came with an answer, until it is asked for. */
  #along: AlongBlob | undefined;

  /** Headers of a poll for news after `etag`. */
  asking(etag: string | undefined): Headers {
    if (etag === undefined) return { "accept-encoding": CODED };
    const accept = this.#told?.etag === etag ? CODED_AFTER : CODED;
    return { "if-none-match": etag, "accept-encoding": accept };
  }

  /** The body of the answer to such a poll. After one that cannot be read, the next is asked for in full. */
  async read(response: IncomingMessage, name: string): Promise<unknown> {
    const held = this.#told;
    this.#told = undefined;
    const coding = response.headers["content-encoding"];
    if (coding === CODED_AFTER && held !== undefined) {
      // The hub may have taken a report whose answer is still on its way.
      const said = this.#said.map((one) => sharedOf(held, one));
      const { body, content, along } = await bodyAfter(response, name, [...said, sharedOf(held)]);
      this.#told = content;
      this.#along = along ?? this.#along;
      return body;
    }
    const body = await bodyOf(response, name);
    // A hub that codes reads coded bodies; what it tells in full, it tells to one that it knows nothing of.
    this.#taken = undefined;
    if (coding !== undefined) this.#told = contentIn(body);
    return body;
  }

  /** The bytes of a blob that came with an answer; told once. */
  came(blob: string): Uint8Array | undefined {
    if (this.#along?.name !== blob) return undefined;
    const { bytes } = this.#along;
    this.#along = undefined;
    return bytes;
  }

  /** Sends a report, coded where the hub will know how to read it, else as it is. */
  async say<T>(report: unknown, send: (body: Buffer, headers: Headers) => Promise<T>): Promise<T> {
    const text = Buffer.from(JSON.stringify(report));
    const shared = this.#told === undefined ? undefined : sharedOf(this.#told, this.#taken);
    this.#said = [text, ...this.#said].slice(0, SAID_KEPT);
    const answer = (await coded(text, shared, send)) ?? (await send(text, {}));
    this.#taken = text;
    return answer;
  }
}

/** Undefined where the hub does not know what it is coded after: it was started meanwhile, or is another one. */
async function coded<T>(
  text: Buffer,
  shared: Shared | undefined,
  send: (body: Buffer, headers: Headers) => Promise<T>,
): Promise<T | undefined> {
  if (shared === undefined) return undefined;
  const headers = { "content-encoding": CODED_AFTER, [AFTER_HEADER]: shared.tag };
  try {
    return await send(await encode(text, shared), headers);
  } catch (err) {
    if (isSkeinError(err, "CODING_UNKNOWN", "BAD_REQUEST")) return undefined;
    throw err;
  }
}
