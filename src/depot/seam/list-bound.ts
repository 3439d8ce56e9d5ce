import { SkeinError } from "../../lib/errors/errors.ts";

/** Far more than any depot of ours holds. */
const MOST_NAMES = 20_000_000;
/** A server may give short pages, but not only such. */
const SHORT_PAGES = 1000;
const NAMES_A_PAGE = 100;

/** Counts what a list by pages has brought: a server that lies could keep whoever reads it for ever. */
export class ListBound {
  readonly #of: string;
  #pages = 0;
  #names = 0;

  /** @param of the depot's name */
  constructor(of: string) {
    this.#of = of;
  }

  /** One more page came. @throws SkeinError LIST_ENDLESS */
  page(names: number): void {
    this.#pages += 1;
    this.#names += names;
    if (this.#names > MOST_NAMES || this.#pages > SHORT_PAGES + this.#names / NAMES_A_PAGE) {
      throw listEndless(this.#of, `${this.#pages} pages with ${this.#names} names`);
    }
  }
}

/** @param came what it had brought when it was given up on */
export function listEndless(of: string, came: string): SkeinError {
  return new SkeinError("LIST_ENDLESS", `${of}: a list does not end: ${came}, and more to come`, {
    data: { depot: of },
  });
}
