/**
 * The JSON of answers to `wanted`, in parts that are made once: what is told of an app is the same for all nodes that
 * are told the same of it, and what is a node's own is the same in nearly all of its answers.
 */
import { contentOf, partOf, type Content } from "../../api/body-coding.ts";
import type { Wanted, WantedApp } from "../../api/schemas.ts";
import type { KeyId, AppEnv } from "../../lib/text/ids.ts";
import { keepNewest } from "../../lib/memory/keep-newest.ts";
import type { Envelope } from "../../trust/document/envelope.ts";
import type { Orders } from "../orders/orders.ts";
import type { OrderRecord, SettleRecord } from "../records/keys.ts";
import { goesAlong } from "./rosters.ts";

/** All that an etag stands for. */
export type Fields = Omit<Wanted, "etag" | "lastReceipts">;

/** What an answer says of an app. */
export interface AppStuff {
  readonly place: AppEnv;
  readonly records: readonly OrderRecord[];
  readonly settles: readonly SettleRecord[];
  readonly releases: readonly Envelope[];
  readonly gates: WantedApp["gates"];
  /** Differs where one of these does. */
  readonly stamp: string;
}

export interface AnswerStuff {
  readonly own: Omit<Fields, "apps" | "commands">;
  /** Differs where `own` does. */
  readonly ownStamp: string;
  readonly apps: readonly AppStuff[];
  readonly commands: readonly Envelope[];
}

interface AppPart {
  readonly app: WantedApp;
  readonly part: Buffer;
}

/** Told last; some kilobytes each. What is told again later is made anew. */
const APPS_KEPT = 64;
const COMMA = partOf(",");
const NO_COMMANDS = partOf(`],"commands":[]}`);

export class Contents {
  readonly #orders: Pick<Orders, "body" | "roster">;
  readonly #own = new Map<KeyId, { readonly stamp: string; readonly part: Buffer }>();
  readonly #apps = new Map<string, Promise<AppPart>>();

  constructor(orders: Pick<Orders, "body" | "roster">) {
    this.#orders = orders;
  }

  async of(
    node: KeyId,
    { own, ownStamp, apps, commands }: AnswerStuff,
  ): Promise<{ readonly content: Content; readonly fields: Fields }> {
    const made = await Promise.all(apps.map(async (app) => await this.#app(app)));
    const parts = made.flatMap(({ part }, n) => (n === 0 ? [part] : [COMMA, part]));
    const last = commands.length === 0 ? NO_COMMANDS : partOf(`],"commands":${JSON.stringify(commands)}}`);
    const content = contentOf([this.#ownPart(node, own, ownStamp), ...parts, last]);
    return { content, fields: { ...own, apps: made.map(({ app }) => app), commands: [...commands] } };
  }

  #ownPart(node: KeyId, own: AnswerStuff["own"], stamp: string): Buffer {
    const known = this.#own.get(node);
    if (known?.stamp === stamp) return known.part;
    const part = partOf(`${JSON.stringify(own).slice(0, -1)},"apps":[`);
    this.#own.set(node, { stamp, part });
    return part;
  }

  #app(stuff: AppStuff): Promise<AppPart> {
    const { stamp } = stuff;
    const known = this.#apps.get(stamp);
    const making = known ?? this.#make(stuff);
    keepNewest(this.#apps, APPS_KEPT, stamp, making);
    if (known === undefined) making.catch(() => this.#apps.delete(stamp));
    return making;
  }

  async #make({ place, records, settles, releases, gates }: AppStuff): Promise<AppPart> {
    const rosters: WantedApp["rosters"] = {};
    for (const record of records) {
      const { roster } = this.#orders.body(record);
      const held = await this.#orders.roster(roster);
      if (held !== undefined && goesAlong(held)) rosters[roster] = held;
    }
    const app = {
      ...place,
      orders: records.map(({ order }) => order),
      rosters,
      settles: settles.map(({ settle, receipts }) => ({ settle, receipts: [...receipts] })),
      releases: [...releases],
      gates,
    };
    return { app, part: partOf(JSON.stringify(app)) };
  }
}
