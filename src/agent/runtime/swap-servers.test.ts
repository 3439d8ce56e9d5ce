import assert from "node:assert/strict";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import type { ProcessPlan } from "./release-plan.ts";
import { bench, listenAt, processPlan, releasePlan } from "./runtime.fixture.ts";
import { swapUnderLoad } from "./swap.fixture.ts";

const wsgi = (n: number) => `
def app(environ, start_response):
    body = b"v${n}"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
`;
const asgi = (n: number) => `
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"v${n}"})
`;
const rack = (n: number) => `run ->(env) { [200, { "content-length" => "2" }, ["v${n}"]] }`;

const http = { type: "http", path: "/", socket: "http", tls: false } as const;
const ready = { ...processPlan("x").ready, check: http };
const drain = { signal: "TERM", windowMs: 200, withinMs: 20_000, now: "KILL" };

/**
 * Servers with an event loop in front close, when they stop, a connection that they had accepted and not yet read.
 * Nobody but the server can mend that (docs/how-to/handover.md); what the hand-over answers for is everything else.
 * One or two of some hundred, and as a share of all where these wait for a core.
 */
const MAY_CLOSE_UNREAD = 0.05;

for (const [name, run, file, text, unread] of [
  ["gunicorn (LISTEN_FDS)", "gunicorn -w 2 app:app", "app.py", wsgi, 0],
  [
    "uvicorn --fd",
    "uvicorn --fd $SKEIN_FD_HTTP --log-level warning app:app",
    "app.py",
    asgi,
    MAY_CLOSE_UNREAD,
  ],
  ["puma (LISTEN_FDS)", "puma -q -b tcp://$HOST:$PORT config.ru", "config.ru", rack, MAY_CLOSE_UNREAD],
] as const) {
  const long = unread > 0 ? " (long)" : "";
  test(`${name} takes the passed socket, judged privately first, and loses no new connection${long}`, async (t) => {
    const b = await bench(t);
    const port = await freePort();
    const web: Partial<ProcessPlan> = { listen: { http: listenAt(port) }, ready, drain };
    const planOf = (n: number) => releasePlan(b.release({ [file]: text(n) }), processPlan(run, web));
    const result = await swapUnderLoad(b, port, planOf, { perSec: 60, connections: 0 });
    const { "reset-new": closedUnread = 0, ...lost } = result.one.classes;
    assert.deepEqual(lost, {});
    const most = Math.max(Math.sign(unread) * 8, unread * result.one.sent);
    assert.ok(closedUnread <= most, `${closedUnread} of ${result.one.sent} were closed unread`);
    assert.ok((result.one.bodies["v2"] ?? 0) > 0, JSON.stringify(result.one.bodies));
  });
}
