import assert from "node:assert/strict";
import test from "node:test";
import type { InstanceState, SocketView } from "../../keeper/protocol.ts";
import type { Style } from "./handover-style.ts";
import { publicSocket, type Place } from "./instance-spec.ts";
import { inTheWay, inTheWayOf, isAny, refuseTwice, type Comer } from "./make-way.ts";
import type { ProcessPlan, ReleasePlan, RunRef } from "./release-plan.ts";
import { listenAt, processPlan } from "./runtime.fixture.ts";
import type { Held, Stock } from "./stock.ts";

const place = { run: "/run/skein", bind: "0.0.0.0" } as unknown as Place;
const run = (release: string, generation = 1): RunRef => ({ app: "shop", release, generation });
const [OLD, NEW] = [run("old"), run("new")];
const HTTP = { http: listenAt(80) };
const KEY = publicSocket("shop", HTTP.http, place).key;

interface Over {
  readonly state?: InstanceState;
  readonly style?: Style;
  readonly held?: Readonly<Record<string, string>>;
  /** What it binds itself. */
  readonly told?: readonly { protocol: string; port: number; path: string | null }[];
}

const heldOf = (ref: RunRef, process: string, over: Over = {}): Held => {
  const { state = "running", style = "node", held = {}, told = [] } = over;
  const spec = { key: `${ref.app}/${ref.release}.${ref.generation}/${process}.1` };
  return { view: { state, spec }, meta: { ...ref, process, style, held, told } } as unknown as Held;
};

const stockOf = (instances: readonly Held[], ...keys: string[]): Stock => ({
  instances,
  sockets: keys.map((key) => ({ key }) as SocketView),
});
const comerOf = (style: Style, over: Partial<ProcessPlan> = {}): Comer => ({
  app: "shop",
  process: processPlan("x", { listen: HTTP, ...over }),
  style,
});
const bound = (port: number, protocol = "http", path: string | null = null): Over => ({
  style: "gap",
  told: [{ protocol, port, path }],
});

test("an old version is in the way where it may not run beside, or has what the new one is to listen on", () => {
  const web = heldOf(OLD, "web", { held: { http: KEY } });
  const table: [what: string, comer: Comer, instance: Held, isInTheWay: boolean][] = [
    ["they overlap", comerOf("node"), web, false],
    ["they may not overlap", comerOf("node", { overlap: false }), web, true],
    ["another process may", comerOf("node", { overlap: false, name: "api" }), web, false],
    ["it binds by itself", comerOf("gap"), web, true],
    ["so does another process", comerOf("gap", { name: "api" }), web, true],
    ["one on another port", comerOf("gap", { name: "api", listen: { http: listenAt(81) } }), web, false],
    ["it had bound by itself", comerOf("node", { name: "api" }), heldOf(OLD, "web", bound(80)), true],
    ["on another port", comerOf("node", { name: "api" }), heldOf(OLD, "web", bound(81)), false],
    ["by another protocol", comerOf("node", { name: "api" }), heldOf(OLD, "web", bound(80, "udp")), false],
    [
      "the port is any",
      comerOf("own", { listen: { http: listenAt(null) } }),
      heldOf(OLD, "api", bound(0)),
      false,
    ],
    ["it is told of only", comerOf("node"), heldOf(OLD, "api", { ...bound(80), style: "node" }), false],
    ["it has ended", comerOf("gap"), { ...heldOf(OLD, "web", { state: "exited" }) }, false],
    ["it is being started", comerOf("gap"), heldOf(OLD, "web", { state: "waiting" }), true],
    ["it is of a run that stays", comerOf("gap"), heldOf(run("old", 2), "web"), false],
  ];
  for (const [what, comer, instance, isInTheWay] of table) {
    const { instances } = inTheWay(comer, [run("older"), OLD], stockOf([instance], KEY), place);
    assert.deepEqual(instances, isInTheWay ? [instance] : [], what);
  }
});

test("a unix socket is in the way by its path", () => {
  const listen = { http: listenAt(null, { protocol: "unix", path: "web.sock", handover: "gap" }) };
  const at = (path: string): Held => heldOf(OLD, "api", bound(0, "unix", path));
  const [same, other] = [at("/run/skein/shop/web.sock"), at("/run/skein/shop/api.sock")];
  const { instances } = inTheWay(comerOf("gap", { listen }), [OLD], stockOf([same, other]), place);
  assert.deepEqual(instances, [same]);
});

test("a held socket is in the way of who binds it by itself, and of nobody else", () => {
  const stock = stockOf([], KEY, "shop|tcp|0.0.0.0:81");
  const listen = { ...HTTP, admin: listenAt(82) };
  const { sockets } = inTheWay(comerOf("gap", { listen }), [OLD], stock, place);
  assert.deepEqual(
    sockets.map(({ key }) => key),
    [KEY],
  );
  assert.equal(isAny({ instances: [], sockets }), true);
  assert.equal(isAny(inTheWay(comerOf("node"), [OLD], stock, place)), false);
});

test("beside what goes on nothing is started that may run once only, or has no port left", () => {
  const web = heldOf(OLD, "web", { held: { http: KEY } });
  const solo = (name: string): Comer => comerOf("own", { name, overlap: false, listen: {} });
  const refused = (comer: Comer, stays: Held): string => {
    try {
      refuseTwice(comer, [stays], place);
      return "";
    } catch (err) {
      return (err as Error).message;
    }
  };
  assert.match(refused(solo("web"), web), /^web may not .*\(overlap: false\), and old is to go on/);
  assert.match(refused(comerOf("gap", { name: "api" }), web), /^api may not .*\(handover: gap\)/);
  assert.match(refused(comerOf("gap", { name: "api" }), heldOf(OLD, "web", bound(80))), /handover: gap/);
  const listen = { ...HTTP, admin: listenAt(82) };
  const named = heldOf(run("ab".repeat(16)), "web", { held: { http: KEY } });
  assert.match(refused(comerOf("gap", { listen }), named), /and shop@abababab is to go on/);
  assert.equal(refused(comerOf("gap", { listen: { http: listenAt(81) } }), web), "");
  assert.equal(refused(comerOf("node"), web), "");
  assert.equal(refused(solo("api"), web), "");
  for (const state of ["stopping", "stopped"] as const)
    assert.equal(refused(solo("web"), heldOf(OLD, "web", { state })), "", state);
});

test("of whole plans that is in the way which is none of theirs, and one that is refused keeps no other from it", () => {
  const mixed = { a: listenAt(82, { handover: "node" }), b: listenAt(83, { handover: "gap" }) };
  const processes = [
    processPlan("x", { name: "odd", listen: mixed }),
    processPlan("x", { name: "web", listen: { http: listenAt(80, { handover: "gap" }) } }),
    processPlan("x", { name: "api", overlap: false }),
  ];
  const plan = { ...NEW, dir: "/none", processes } as unknown as ReleasePlan;
  const [web, api, log, own] = ["web", "api", "log", "web"].map((name, n) => heldOf(n < 3 ? OLD : NEW, name));
  assert.ok(web !== undefined && api !== undefined && log !== undefined && own !== undefined);
  const stock = stockOf([web, api, log, own], KEY);
  const way = inTheWayOf([plan], [web, api, log], stock, { place, ffi: true });
  assert.deepEqual(way.instances, [web, api]);
  assert.equal(way.sockets.length, 1);
});
