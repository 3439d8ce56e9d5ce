/** One handler a route. Each checks the rights that the route table cannot know, then calls the part that does it. */
import type { Steering } from "../api/schemas.ts";
import { atPace, PACE } from "../depot/seam/pace.ts";
import { checkBlobName } from "../depot/seam/blob-name.ts";
import { SkeinError } from "../lib/errors/errors.ts";
import type { Digest, KeyId } from "../lib/text/ids.ts";
import { readUnverified } from "../trust/document/envelope.ts";
import { allows } from "../trust/charter/rights.ts";
import { isStored } from "../release/fetch/tree-blobs.ts";
import { seesRetired } from "../release/upkeep/retired.ts";
import { beginCluster, collectDepot } from "./depot/depot-upkeep.ts";
import {
  deleteBlob,
  getBlob,
  hasBlobs,
  listBlobs,
  putBlob,
  putSmall,
  sendBytes,
  uploadOffset,
  type Intake,
} from "./depot/depot-routes.ts";
import { hubEvents } from "./events.ts";
import { gitRequest, sendExchange, sendRefs } from "./git/git-http.ts";
import type { GitService } from "./git/git-repos.ts";
import type { Hub } from "./hub.ts";
import type { OrderRecord } from "./records/keys.ts";
import { sendRoster } from "./wanted/rosters.ts";
import { rolloutViews } from "./rollouts/rollout-views.ts";
import { sendWanted } from "./wanted/wanted-answer.ts";
import { takeReport } from "./reporting/reports.ts";
import type { Call, Handlers } from "./http/router.ts";
import { answerAll } from "./http/together.ts";
import { viewWithIndex } from "./release-views.ts";
import { appViews, appSummaries, orderHistory } from "./app-views.ts";

type Named = Pick<Call, "params" | "caller">;
const param = (call: Named, name: string): string => call.params[name] ?? "";

export function handlersOf(hub: Hub): Handlers {
  const handlers: Handlers = {
    together: async (call) => await answerAll(handlers, call),
    ...membership(hub),
    ...publishing(hub),
    ...rollouts(hub),
    ...agents(hub),
    ...depot(hub),
    ...relays(hub),
  };
  return handlers;
}

function membership(hub: Hub) {
  const { charters, nodes, presence, catchUp, reminders, core } = hub;
  return {
    hub: async () => hub.info(),
    openapi: async () => (await import("../api/openapi.ts")).openApiDocument(core.version),
    charters: async (call) => ({ charters: charters.after(call.query.after) }),
    postCharter: async (call) => {
      if (charters.current === undefined) return await done(beginCluster(hub, call.body.charter));
      if (call.caller.role === "operator") return await done(charters.post(call.body.charter));
      throw new SkeinError("UNKNOWN_CLIENT", "only operators may post charters");
    },
    postTicket: async (call) => await nodes.postTicket(call.body.ticket),
    ticket: async (call) => nodes.ticket(param(call, "ticket")),
    enrol: async (call) => {
      // The ticket may have been used: its node is heard first.
      catchUp.refuse();
      return { node: await nodes.enrol(call.body.enrol, call.caller.kid) };
    },
    comeBack: async (call) => ({ node: await reminders.comeBack(call.body, call.caller.kid) }),
    membership: async (call) => reminders.membershipOf(call.caller.kid, call.query.after),
    nodes: async () => ({
      nodes: presence.views(),
      unvouched: nodes.unvouched().map(({ node, name }) => ({ node, name })),
      revision: core.mirror.revision,
    }),
    nodeDocuments: async (call) => nodes.documents(nodes.find(param(call, "name"))),
    postLabel: async (call) => await done(nodes.postLabel(call.body.label)),
    postRevocation: async (call) => await done(nodes.postRevocation(call.body.revoke)),
  } satisfies Partial<Handlers>;
}

function publishing(hub: Hub) {
  const { releases, orders, catchUp } = hub;
  return {
    postRelease: async (call) => {
      const { blobs: sent } = call.body;
      if (sent.length > 0) needSomeDeploy(hub, call);
      const blobs = sent.map(({ name, base64 }) => ({ name, bytes: Buffer.from(base64, "base64") }));
      await putSmall(intakeOf(hub, call), blobs);
      hub.recent.keep(blobs);
      for (const { name } of blobs) hub.peers.forget(name);
      const view = await releases.post(call.body.release);
      const release = readUnverified(view.release, "release.1");
      hub.layouts.expect(release);
      hub.deltas.expect(release);
      // Of what came along: a collection may take a pack out of use just when its sender found it there.
      return sent.length === 0
        ? view
        : { ...view, stored: await isStored(hub.core.depot, release, call.signal) };
    },
    releases: async (call) => {
      const [first, ...others] = releases.list(call.query.app, call.query.limit);
      if (first === undefined || call.query.with === undefined)
        return { releases: first === undefined ? [] : [first, ...others] };
      return { releases: [await viewWithIndex(hub, first, call.signal), ...others] };
    },
    release: async (call) => {
      const view = releases.find(param(call, "id"), call.query.app);
      if (call.query.with === undefined) return view;
      const stored = await isStored(hub.core.depot, readUnverified(view.release, "release.1"), call.signal);
      return { ...(await viewWithIndex(hub, view, call.signal)), stored };
    },
    postOrder: async (call) => {
      catchUp.refuse();
      return { digest: await orders.post(call.body, hub.rollouts) };
    },
    postSettle: async (call) => await done(orders.postSettle(call.body.settle)),
    apps: async () => await appSummaries(hub),
    app: async (call) => await appViews(hub, param(call, "app"), call.query.env),
    orders: async (call) => await orderHistory(hub, { app: param(call, "app"), env: call.query.env }),
  } satisfies Partial<Handlers>;
}

type Steered = { [W in Steering]: Call<`${W}Rollout`> }[Steering];

function rollouts(hub: Hub) {
  const named = (call: Named): OrderRecord => {
    const digest = param(call, "digest");
    const record = hub.orders.find(digest);
    if (record !== undefined) return record;
    throw new SkeinError("NOT_FOUND", `the hub knows no order ${digest.slice(0, 12)}`, {
      data: { order: digest },
    });
  };
  const steer = async (call: Steered, word: Steering): Promise<Record<string, never>> => {
    const record = named(call);
    const { app, env } = hub.orders.body(record);
    needRight(hub, call, { kind: "deploy", app, env });
    return await done(hub.rollouts.steer(record.digest, word, call.query.said));
  };
  return {
    rollout: async (call) => {
      const { after, wait: waitMs } = call.query;
      const { digest } = named(call);
      const view = await hub.rollouts.nextView(digest, { after, waitMs }, call.signal);
      if (view !== undefined) return view;
      throw new SkeinError("NOT_FOUND", "nothing is known of this rollout any more");
    },
    rolloutViews: async (call) => rolloutViews(hub.rollouts, named(call).digest, call.signal),
    abortRollout: async (call) => await steer(call, "abort"),
    pauseRollout: async (call) => await steer(call, "pause"),
    resumeRollout: async (call) => await steer(call, "resume"),
  } satisfies Partial<Handlers>;
}

function agents(hub: Hub) {
  const { core, presence, ports } = hub;
  return {
    wanted: async (call) => {
      const node = call.caller.kid;
      const waitMs = call.query.wait;
      // A second agent with this key would wait just as quietly: if the first one lives, it asks again at once.
      if (presence.polled(node, waitMs, call.query.boot)) hub.wanted.dismiss(node);
      try {
        const wanted = await hub.wanted.poll(node, call.req.headers["if-none-match"], waitMs, call.signal);
        if (wanted === undefined) return void call.res.writeHead(304).end();
        const along = await hub.along.to(node, hub.wanted.headsFor(node), call.query.along);
        return await sendWanted(call, wanted, node, hub.wanted.told, along);
      } finally {
        presence.pollEnded(node, call.res.destroyed && !core.signal.aborted);
      }
    },
    roster: async (call) => {
      const digest = param(call, "digest");
      const roster = await hub.orders.roster(digest);
      if (roster === undefined) throw new SkeinError("NOT_FOUND", `no order has the roster ${digest}`);
      await sendRoster(call, roster);
    },
    peers: async (call) => hub.peers.list(call.caller.kid, call.query.etag),
    report: async (call) => {
      const reported = await takeReport(hub, call.caller.kid, call.body);
      hub.wanted.told.heard(call.caller.kid, call.text);
      return reported;
    },
    ports: async (call) => ({
      ports: ports.list({ app: call.query.app, env: call.query.env }),
      revision: core.mirror.revision,
    }),
    events: async (call) => hubEvents(hub, call.query.from, call.query.prefix, call.signal),
  } satisfies Partial<Handlers>;
}

function depot(hub: Hub) {
  const { depot: blobs, traffic } = hub.core;
  const name = (call: Named): string => {
    const blob = param(call, "blob");
    checkBlobName(blob);
    return blob;
  };
  return {
    depotHas: async (call) => await hasBlobs(blobs, call.body.names, call.signal),
    depotList: async (call) =>
      await listBlobs(blobs, call.query.prefix, call.query.after, call.query.limit, call.signal),
    depotGet: async (call) => {
      const blob = name(call);
      await hub.deltas.need(blob, call.signal);
      await getBlob(traffic.sending(seesRetired(blobs)), blob, call.req, call.res, call.signal);
    },
    depotPieces: async (call) => {
      const blob = name(call);
      if (!hub.peers.hasProof(blob)) await hub.deltas.need(blob, call.signal);
      const { size, hashes, bytes } = await hub.peers.proof(blob);
      const isGiven = bytes !== undefined && call.query.whole > 0 && size <= call.query.whole;
      if (!isGiven) return { size, hashes };
      await traffic.up(size, call.signal);
      return sendBytes(call.res, bytes);
    },
    depotHead: async (call) => await uploadOffset(blobs, name(call), call.req, call.res),
    depotPut: async (call) => {
      needSomeDeploy(hub, call);
      // Who hangs or drips would hold a turn for ever; it goes on later, where it was.
      const sent = atPace(call.req as AsyncIterable<Uint8Array>, PACE, () => call.req.destroy());
      const bytes = traffic.receiving(sent, call.signal);
      await putBlob(intakeOf(hub, call), name(call), bytes, call.req, call.res);
      // Only now: who asked while it came was told of what was there before.
      hub.peers.forget(name(call));
    },
    depotDelete: async (call) => {
      needRight(hub, call, { kind: "admin" });
      return await deleteBlob(blobs, name(call), call.signal);
    },
    depotCollect: async (call) => {
      needSomeDeploy(hub, call);
      return await collectDepot(hub, call.body.dryRun, hub.core.signal);
    },
  } satisfies Partial<Handlers>;
}

function relays(hub: Hub) {
  return {
    repos: async () => ({ repos: await hub.git.list() }),
    git: async () => {
      throw new SkeinError("BAD_REQUEST", "this route needs `upgrade: skein-git`");
    },
    gitRefs: async (call) => {
      needPush(hub, call.caller.kid, param(call, "repo"));
      const request = gitRequest(param(call, "repo"), call.query.service, call.req);
      using _ = await hub.git.place(call.caller.kid, call.req.socket, call.signal);
      await sendRefs(hub.git, request, call.res, call.signal);
    },
    gitExchange: async (call) => {
      needPush(hub, call.caller.kid, param(call, "repo"));
      const request = gitRequest(param(call, "repo"), param(call, "service") as GitService, call.req);
      hub.core.log.info("git", { service: request.service, repo: request.repo, operator: call.caller.kid });
      using _ = await hub.git.place(call.caller.kid, call.req.socket, call.signal);
      await sendExchange(hub.git, request, call.req, call.res, call.signal);
    },
    postCommand: async (call) => hub.commands.lines(await hub.commands.begin(call.body.command), call.signal),
    answerCommand: async (call) => {
      const node = call.caller.kid;
      if (param(call, "node") !== node)
        throw new SkeinError("NOT_AUTHORISED", "a node answers for itself only");
      await hub.commands.answer(param(call, "digest") as Digest, node, call.req as AsyncIterable<Uint8Array>);
      return {};
    },
  } satisfies Partial<Handlers>;
}

/** @throws SkeinError NOT_AUTHORISED */
function needRight(hub: Hub, call: Named, right: Parameters<typeof allows>[2]): void {
  if (allows(hub.charters.need().charter, call.caller.kid, right)) return;
  const scope =
    right.kind === "admin"
      ? "admin"
      : right.kind === "enrol"
        ? "enrol"
        : `${right.kind}:${right.app}/${right.env}`;
  throw new SkeinError("NOT_AUTHORISED", `this needs the right ${scope}`, { data: { scope } });
}

function intakeOf({ core, admissions, charters }: Hub, { caller: { kid } }: Named): Intake {
  const isAdmin = allows(charters.need().charter, kid, { kind: "admin" });
  return { depot: core.depot, admissions, writer: { kid, isAdmin } };
}

/** Blobs belong to no app: whoever may deploy anything may add to them. */
function needSomeDeploy(hub: Hub, call: Named): void {
  const operator = hub.charters.need().charter.operators[call.caller.kid];
  if (operator?.allow.some((scope) => scope.startsWith("deploy:")) === true) return;
  throw new SkeinError("NOT_AUTHORISED", "this needs a right to deploy", {
    data: { scope: "deploy:APP/ENV" },
  });
}

/** Whoever may deploy an app anywhere may push to its repository. @throws SkeinError NOT_AUTHORISED */
export function needPush(hub: Hub, operator: KeyId, app: string): void {
  const { charter } = hub.charters.need();
  const scopes = charter.operators[operator]?.allow ?? [];
  const environments = scopes.flatMap((scope) => /^deploy:[^/]+\/(.+)$/.exec(scope)?.[1] ?? []);
  // A glob matches itself, so asking for each scope's own environment asks for any.
  if (environments.some((env) => allows(charter, operator, { kind: "deploy", app, env }))) return;
  throw new SkeinError("NOT_AUTHORISED", `this needs the right deploy:${app}/ENV`, {
    data: { scope: `deploy:${app}/*` },
  });
}

async function done(work: Promise<unknown>): Promise<Record<string, never>> {
  await work;
  return {};
}
