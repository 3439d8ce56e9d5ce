/** Several questions that came in one request, each let in and answered as if it had come by itself. */
import { isSkeinError, SkeinError, toWire, type WireError } from "../../lib/errors/errors.ts";
import { findRoute, queryOf, urlOf, type Call, type Handlers } from "./router.ts";

type Answer = { readonly body: unknown } | { readonly error: WireError };

export async function answerAll(
  handlers: Handlers,
  call: Call<"together">,
): Promise<{ readonly answers: readonly Answer[] }> {
  const answers = call.body.paths.map(async (path): Promise<Answer> => {
    try {
      return { body: await answerOne(handlers, call, path) };
    } catch (err) {
      if (!isSkeinError(err)) throw err;
      return { error: toWire(err) };
    }
  });
  return { answers: await Promise.all(answers) };
}

/** @throws SkeinError NOT_FOUND, NOT_AUTHORISED, BAD_REQUEST, and what the handler throws */
async function answerOne(handlers: Handlers, call: Call<"together">, path: string): Promise<unknown> {
  const url = urlOf(path);
  const found = findRoute("GET", url.pathname);
  if (found?.route.beside !== true)
    throw new SkeinError("NOT_FOUND", `there is no GET ${url.pathname} that is answered beside others`);
  const { name, route, params } = found;
  if (!route.roles.includes(call.caller.role))
    throw new SkeinError("NOT_AUTHORISED", `${name} is not for ${call.caller.role}s`, {
      data: { route: name },
    });
  // The schemas of this very route are applied; TypeScript cannot follow that through the table.
  const handler = handlers[name] as (call: unknown) => Promise<unknown>;
  const { caller, req, res, signal } = call;
  return await handler({ caller, params, query: queryOf(route, url), body: undefined, req, res, signal });
}
