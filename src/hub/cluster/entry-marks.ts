import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { Digest } from "../../lib/text/ids.ts";
import type { LocalSigner } from "../../trust/keys/keys.ts";

/**
 * What a hub gives each node that it let in, and asks for when its store has forgotten the node. That a ticket lets in
 * one node, once, stands in the store alone: after a restore whoever finds the line of a ticket that was used long ago
 * could else make an enrolment of its own, dated as it likes. Made with a key that follows from the hub's own, which
 * outlives its store; nobody else can make or read a mark.
 */
export class EntryMarks {
  readonly #key: Uint8Array;

  constructor({ privateKey }: LocalSigner) {
    const seed = Buffer.from(privateKey.export({ format: "jwk" }).d ?? "", "base64url");
    this.#key = new Uint8Array(hkdfSync("sha256", seed, "", "skein entry mark", 32));
  }

  /** @param enrol digest of the enrolment */
  of(enrol: Digest): string {
    return this.#mac(enrol).toString("base64url");
  }

  isOf(enrol: Digest, mark: string): boolean {
    const [own, given] = [this.#mac(enrol), Buffer.from(mark, "base64url")];
    return given.length === own.length && timingSafeEqual(given, own);
  }

  #mac(enrol: Digest): Buffer {
    return createHmac("sha256", this.#key).update(enrol).digest();
  }
}
