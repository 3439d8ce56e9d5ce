/** Several questions that came in one request, each let in and answered as if it had come by itself. */
import { isSkeinError, SkeinError, toWire } from "../../lib/errors/errors.ts";
import { answerText } from "./http.ts";
import { findRoute, queryOf, urlOf, type Call, type Handlers } from "./router.ts";

/** Of all answers together, as JSON: one request is not to take the memory of many. What is longer is asked for by itself. */
const MOST_BYTES = 16 * 2 ** 20;

/** @param mostBytes default 16 MiB */
export async function answerAll(
  handlers: Handlers,
  call: Call<"together">,
  mostBytes = MOST_BYTES,
): Promise<void> {
  let left = mostBytes;
  const answers = call.body.paths.map(async (path): Promise<string> => {
    try {
      const answer = JSON.stringify({ body: await answerOne(handlers, call, path) });
      if (answer.length > left)
        throw new SkeinError("DOC_TOO_BIG", `what ${path} gives is too long to come beside others`);
      left -= answer.length;
      return answer;
    } catch (err) {
      if (!isSkeinError(err)) throw err;
      return JSON.stringify({ error: toWire(err) });
    }
  });
  await answerText(call.req, call.res, `{"answers":[${(await Promise.all(answers)).join(",")}]}`);
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
