import { UNWELL_CHARS } from "../../api/field-schemas.ts";
import type { Digest } from "../../lib/text/ids.ts";
import { msOf, timeOf } from "../../trust/document/fields.ts";
import type { InstanceRow } from "../runtime/instance-rows.ts";

/** The newest sign that a release does not do well where it serves. */
export interface Unwell {
  /** By this machine's clock. */
  readonly at: string;
  readonly message: string;
  /** It came under this order, also where that had not ended yet. */
  readonly order?: Digest;
}

/** The order whose release was given the public sockets last, and since when. */
export interface Served {
  readonly order: Digest;
  /** By this machine's clock, ms. */
  readonly at: number;
}

/** Instances that were replaced because they failed their live checks: of each the last time, by its key. */
export class Replaced {
  readonly #all = new Map<string, Unwell>();

  note({ key, instance }: Pick<InstanceRow, "key" | "instance">, why: string, now: number): void {
    const message = `${instance} was replaced: ${why}`.slice(0, UNWELL_CHARS);
    this.#all.set(key, { at: timeOf(now), message });
  }

  of(key: string): Unwell | undefined {
    return this.#all.get(key);
  }

  /** Forgets all others. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#all.keys()) if (!keys.has(key)) this.#all.delete(key);
  }
}

/** The newest sign, where there is one. @param rows of the release that serves */
export function unwellOf(
  rows: readonly Pick<InstanceRow, "key" | "instance" | "crashes" | "exit">[],
  replaced: Pick<Replaced, "of">,
  served: Served | undefined,
): { readonly unwell?: Unwell } {
  const signs = rows.flatMap((row) => [crashOf(row) ?? [], replaced.of(row.key) ?? []].flat());
  const [unwell] = signs.toSorted((a, b) => (a.at < b.at ? 1 : -1));
  if (unwell === undefined) return {};
  const isUnder = served !== undefined && msOf(unwell.at) >= served.at;
  return { unwell: isUnder ? { ...unwell, order: served.order } : unwell };
}

/**
 * A crash is an end that was seen and was no good: a machine that went down, or a keeper that died, says nothing of
 * the release, and a worker that ends with 0 may be meant to.
 */
function crashOf({
  instance,
  crashes,
  exit,
}: Pick<InstanceRow, "instance" | "crashes" | "exit">): Unwell | undefined {
  if (crashes === 0 || exit === null || (exit.signal === null && (exit.code ?? 0) === 0)) return undefined;
  const how = exit.signal === null ? `exit status ${exit.code}` : `ended by ${exit.signal}`;
  const often = crashes === 1 ? "" : `, ${crashes} times`;
  return { at: exit.at, message: `${instance} ended by itself (${how})${often}` };
}
