/** How any route of the hub is asked: over which line, and held to which schema. What is asked stands in hub-client.ts. */
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import type * as z from "zod";
import { systemClock, type Clock } from "../lib/time/clock.ts";
import { isSkeinError, SkeinError } from "../lib/errors/errors.ts";
import type { RequestOptions } from "../trust/connection/http-client.ts";
import { HubLine, type HubLineOptions } from "./hub-line.ts";
import { linesOf } from "./hub-lines.ts";
import type { Route } from "./route.ts";
import { ROUTES, type RouteName } from "./routes.ts";
import { requestsFor, ToldTogether } from "./together.ts";
import { bodyOf, pathOf, payloadOf, type Query } from "./wire.ts";

export interface HubClientOptions extends HubLineOptions {
  /** For one call, in ms. Default 30 000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** For a dry run: a request that could change something is a defect. Default: no. */
  readonly asksOnly?: boolean;
}

export type Answer<N extends RouteName> = (typeof ROUTES)[N] extends { response: z.ZodType<infer T> }
  ? T
  : undefined;

type Good<N extends RouteName> = (answer: Answer<N>) => boolean;

/** How an answer is read. */
interface Reading<N extends RouteName> {
  readonly isGood?: Good<N>;
  readonly body?: () => Promise<unknown>;
}

/** A call that only asks. */
export interface Question {
  readonly name: RouteName;
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Query;
}

export interface CallOptions {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Query;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** They are posted for their length, and may ask only. */
const QUESTIONS: ReadonlySet<string> = new Set([
  ROUTES.together.path,
  ROUTES.depotHas.path,
  ROUTES.depotCollect.path,
  ROUTES.postCommand.path,
]);

export class HubCaller implements Disposable {
  readonly #options: HubClientOptions;
  readonly #line: HubLine;
  readonly #told: ToldTogether;

  constructor(options: HubClientOptions) {
    this.#options = options;
    this.#line = new HubLine(options);
    this.#told = new ToldTogether(options.clock ?? systemClock);
  }

  /** For messages. */
  get name(): string {
    return this.#line.name;
  }

  /** Any route by name; its answer is checked against the route's schema. */
  async call<N extends RouteName>(name: N, options: CallOptions = {}): Promise<Answer<N>> {
    const route: Route = ROUTES[name];
    const told = route.beside === true ? await this.told(pathIn(name, options)) : undefined;
    if (told !== undefined) return this.#checked(name, told.body);
    return await this.read(name, await this.send(name, options));
  }

  /** The raw response of a request that is no JSON: blobs. */
  async raw(request: RequestOptions): Promise<IncomingMessage> {
    const { method, path } = request;
    if (this.#options.asksOnly === true && method !== "GET" && !QUESTIONS.has(path))
      throw new SkeinError("INTERNAL", `a dry run was about to send ${method} ${path}`);
    return await this.#line.send(request);
  }

  /** Begins to open a connection, for whoever will ask soon. A failure is told to whoever asks. */
  connect(): void {
    this.#line.connect();
  }

  close(): void {
    this.#line.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Asks for all of these in one request, or a few where they are many. The next call for each of them is answered by
   * that, once, and while it is fresh; an older hub is asked by these calls.
   */
  together(questions: readonly Question[], signal?: AbortSignal): void {
    const paths = questions.map(({ name, params = {}, query = {} }) => pathOf(name, params, query));
    for (const some of requestsFor(paths)) this.#told.expect(some, this.#answersTo(some, signal));
  }

  /** Undefined: the hub answers none together. */
  async #answersTo(
    paths: readonly string[],
    signal?: AbortSignal,
  ): Promise<Answer<"together">["answers"] | undefined> {
    try {
      return (await this.call("together", { body: { paths }, signal })).answers;
    } catch (err) {
      if (!isSkeinError(err, "NOT_FOUND")) throw err;
      return undefined;
    }
  }

  /** The answer to a GET of this path, where it came with others. @throws what it was answered with */
  async told(path: string): Promise<{ readonly body: unknown } | undefined> {
    return await this.#told.take(path);
  }

  protected async *lines<N extends "events" | "postCommand" | "rolloutViews">(
    name: N,
    response: Readable,
  ): AsyncGenerator<z.infer<(typeof ROUTES)[N]["lines"]>, void> {
    for await (const line of linesOf(response, this.name)) {
      const parsed = ROUTES[name].lines.safeParse(line);
      if (!parsed.success) throw this.#unread(name, parsed.error);
      yield parsed.data as z.infer<(typeof ROUTES)[N]["lines"]>;
    }
  }

  protected async send(name: RouteName, options: CallOptions): Promise<IncomingMessage> {
    const { method } = ROUTES[name];
    const path = pathIn(name, options);
    const { body, headers } = payloadOf(name, options.body);
    return await this.raw({
      method,
      path,
      headers: { ...headers, ...options.headers },
      body,
      timeoutMs: options.timeoutMs ?? this.#options.timeoutMs,
      signal: options.signal,
    });
  }

  /** The body, held to the route's schema. A hub whose answer cannot be read is asked last from then on. */
  protected async read<N extends RouteName>(
    name: N,
    response: IncomingMessage,
    { isGood = () => true, body = () => bodyOf(response, this.name) }: Reading<N> = {},
  ): Promise<Answer<N>> {
    const { first } = this.#line;
    try {
      return this.#checked(name, await body(), isGood);
    } catch (err) {
      this.#line.askLast(first);
      throw err;
    }
  }

  /** @throws SkeinError BAD_REQUEST where it is not of the route's schema */
  #checked<N extends RouteName>(name: N, body: unknown, isGood: Good<N> = () => true): Answer<N> {
    const route: Route = ROUTES[name];
    const parsed = route.response?.safeParse(body);
    const answer = parsed?.data as Answer<N>;
    if (parsed?.success !== false && isGood(answer)) return answer;
    throw this.#unread(name, parsed?.error);
  }

  #unread(name: RouteName, cause: unknown): SkeinError {
    const why = `${this.name} answered ${name} in a form this version does not read`;
    return new SkeinError("BAD_REQUEST", why, { cause });
  }
}

const pathIn = (name: RouteName, { params = {}, query = {} }: CallOptions): string =>
  pathOf(name, params, query);
