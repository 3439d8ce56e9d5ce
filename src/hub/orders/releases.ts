/** Signed releases. Found by id, by a unique prefix of it, or by the commit they were made from. */
import type { ReleaseView } from "../../api/schemas.ts";
import { SkeinError } from "../../lib/errors/errors.ts";
import type { ReleaseId, TreeId } from "../../lib/text/ids.ts";
import { readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { releaseIdOf } from "../../trust/document/documents.ts";
import { openRelease } from "../../trust/orders/orders.ts";
import type { Charters } from "../cluster/charters.ts";
import { commit, put, unchanged, type Core } from "../records/core.ts";
import { keys } from "../records/keys.ts";

export class Releases {
  readonly #core: Core;
  readonly #charters: Charters;
  readonly #views = new WeakMap<Envelope, ReleaseView>();

  constructor(core: Core, charters: Charters) {
    this.#core = core;
    this.#charters = charters;
  }

  /** The first document of a release is kept; whoever made it again is answered with that one. @throws SkeinError DOC_* */
  async post(envelope: Envelope): Promise<ReleaseView> {
    const { charter } = this.#charters.need();
    const { body, id } = openRelease(charter, envelope, this.#core.clock.now());
    const key = keys.release(body.app, id);
    return await this.#core.lanes.run(key, async () => {
      const stored = this.#core.mirror.entry(key);
      if (stored.value !== undefined && this.#verifies(stored.value)) return this.#view(stored.value);
      await commit(this.#core, [unchanged(key, stored.modRevision)], [put(key, envelope)]);
      return this.#view(envelope);
    });
  }

  get(app: string, id: ReleaseId): Envelope | undefined {
    return this.#core.mirror.get(keys.release(app, id));
  }

  /** Of whatever app. */
  ofTree(tree: TreeId): Envelope[] {
    const all = this.#core.mirror.list(keys.releases(undefined)).map(({ value }) => value);
    return all.filter((envelope) => readUnverified(envelope, "release.1").tree === tree);
  }

  /** Newest first. */
  list(app: string | undefined, limit: number): ReleaseView[] {
    const views = this.#core.mirror.list(keys.releases(app)).map(({ value }) => this.#view(value));
    return views.sort((a, b) => (a.created < b.created ? 1 : -1)).slice(0, limit);
  }

  /** @throws SkeinError RELEASE_NOT_FOUND, AMBIGUOUS */
  find(text: string, app: string | undefined): ReleaseView {
    const views = this.list(app, Infinity);
    const exact = views.filter(({ id }) => id === text);
    const near = views.filter(({ id, commit }) => id.startsWith(text) || commit?.startsWith(text) === true);
    const [found, ...others] = exact.length > 0 ? exact : near;
    if (found === undefined) {
      throw new SkeinError("RELEASE_NOT_FOUND", `no release ${text}`, { data: { release: text } });
    }
    const other = others.find(({ id }) => id !== found.id);
    // One commit built to two trees: the newest is meant, as with one release.
    if (other === undefined || (found.commit !== null && found.commit === other.commit)) return found;
    throw new SkeinError("AMBIGUOUS", `${text} is ${found.id} and ${other.id}`, {
      data: { candidates: [found.id, ...others.map(({ id }) => id)] },
    });
  }

  /** A charter that dropped its builder makes room for the same release signed by somebody else. */
  #verifies(envelope: Envelope): boolean {
    try {
      openRelease(this.#charters.need().charter, envelope, this.#core.clock.now());
      return true;
    } catch {
      return false;
    }
  }

  #view(envelope: Envelope): ReleaseView {
    const known = this.#views.get(envelope);
    if (known !== undefined) return known;
    const release = readUnverified(envelope, "release.1");
    const { app, commit, created, files, bytes } = release;
    const view = { id: releaseIdOf(release), app, commit, created, files, bytes, release: envelope };
    this.#views.set(envelope, view);
    return view;
  }
}
