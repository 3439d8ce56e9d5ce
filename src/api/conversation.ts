import type { IncomingMessage } from "node:http";
import { AFTER_HEADER, CODED, CODED_AFTER, contentIn, encode, type Content } from "./coding.ts";
import { bodyOf } from "./wire.ts";

type Headers = Readonly<Record<string, string>>;

/** What a node was told last, which its hub and it may code what they send after. */
export class Conversation {
  #told: Content | undefined;

  /** Headers of a poll for news after `etag`. */
  asking(etag: string | undefined): Headers {
    if (etag === undefined) return { "accept-encoding": CODED };
    return {
      "if-none-match": etag,
      "accept-encoding": this.#after(etag) === undefined ? CODED : CODED_AFTER,
    };
  }

  /** The body of the answer to such a poll. One that cannot be read is asked for in full the next time. */
  async read(response: IncomingMessage, name: string, etag: string | undefined): Promise<unknown> {
    const after = this.#after(etag);
    this.#told = undefined;
    const body = await bodyOf(response, name, after);
    // Who codes answers reads coded bodies.
    if (response.headers["content-encoding"] !== undefined) this.#told = contentIn(body);
    return body;
  }

  /** A body for the hub, where it will know how to read it. */
  async coded(body: unknown): Promise<{ readonly body: Buffer; readonly headers: Headers } | undefined> {
    const after = this.#told;
    if (after === undefined) return undefined;
    const headers = { "content-encoding": CODED_AFTER, [AFTER_HEADER]: after.etag };
    return { body: await encode(Buffer.from(JSON.stringify(body)), after), headers };
  }

  #after(etag: string | undefined): Content | undefined {
    return etag !== undefined && this.#told?.etag === etag ? this.#told : undefined;
  }
}
