import type { KeyId, AppEnv } from "../../lib/text/ids.ts";
import type { Charter } from "../document/documents.ts";
import type { PublicKey } from "../keys/keys.ts";
import { globMatches } from "../document/selector.ts";

/**
 * What an operator wants to do, as the charter's `allow` lines say it. No right implies another one:
 * `skein init` writes all of them out for its only operator.
 */
export type Right =
  | { readonly kind: "admin" }
  | { readonly kind: "deploy" | "secrets" | "root"; readonly app: string; readonly env: string }
  | { readonly kind: "enrol"; readonly labels: Readonly<Record<string, string>> };

export type Keys = ReadonlyMap<KeyId, PublicKey>;

/** Has `operator` this right? */
export function allows(charter: Charter, operator: KeyId, right: Right): boolean {
  if (!Object.hasOwn(charter.operators, operator)) return false;
  return charter.operators[operator]?.allow.some((scope) => covers(scope, right)) ?? false;
}

export function mayDeploy(charter: Charter, operator: KeyId, app: string, env: string): boolean {
  return allows(charter, operator, { kind: "deploy", app, env });
}

/** The keys of all operators with this right. */
export function keysWith(charter: Charter, right: Right): Keys {
  return keysOf(
    charter,
    (Object.keys(charter.operators) as KeyId[]).filter((kid) => allows(charter, kid, right)),
  );
}

/** Signatures that an order or settle of this app and environment needs. */
export function quorumOf(charter: Charter, app: string, env: string): number {
  const name = `${app}/${env}`;
  return Object.hasOwn(charter.quorum, name) ? (charter.quorum[name] ?? 1) : 1;
}

/** The keys that may sign a release of `app`: builders for it, and operators who may deploy it somewhere. */
export function releaseKeys(charter: Charter, app: string): Keys {
  const builders = Object.entries(charter.builders).filter(([, { apps }]) =>
    apps.some((glob) => appMatches(glob, app)),
  );
  const operators = Object.entries(charter.operators).filter(([, { allow }]) =>
    allow.some((scope) => scope.startsWith("deploy:") && appMatches(partsOf(scope).app, app)),
  );
  return keysOf(
    charter,
    [...builders, ...operators].map(([kid]) => kid as KeyId),
  );
}

/** The keys of admins, and of operators who may give some labels: who is neither can say nothing of any node. */
export function enrollerKeys(charter: Charter): Keys {
  const kids = Object.entries(charter.operators)
    .filter(([, { allow }]) => allow.some((scope) => scope === "admin" || scope.startsWith("enrol:")))
    .map(([kid]) => kid as KeyId);
  return keysOf(charter, kids);
}

export function keysOf(charter: Charter, kids: readonly KeyId[]): Keys {
  const keys = new Map<KeyId, PublicKey>();
  for (const kid of kids) {
    const key = Object.hasOwn(charter.keys, kid) ? charter.keys[kid] : undefined;
    if (key !== undefined) keys.set(kid, key);
  }
  return keys;
}

function covers(scope: string, right: Right): boolean {
  if (right.kind === "admin") return scope === "admin";
  if (!scope.startsWith(`${right.kind}:`)) return false;
  if (right.kind === "enrol") return coversLabels(scope, right.labels);
  const { app, env } = partsOf(scope);
  return appMatches(app, right.app) && globMatches(env, right.env);
}

/** Every label that is given must be one the scope lists: labels decide what a node is told and trusted with. */
function coversLabels(scope: string, labels: Readonly<Record<string, string>>): boolean {
  const list = scope.slice("enrol:".length);
  if (list === "*") return true;
  const pairs = list.split(",");
  return Object.entries(labels).every(
    ([key, value]) => pairs.includes(`${key}=${value}`) || pairs.includes(`${key}=*`),
  );
}

/** Skein's own apps (`skein-agent`) replace what checks the signatures: no `*` reaches them. */
function appMatches(glob: string, app: string): boolean {
  return app.startsWith("skein-") ? glob === app : globMatches(glob, app);
}

function partsOf(scope: string): AppEnv {
  const [app = "", env = ""] = scope.slice(scope.indexOf(":") + 1).split("/");
  return { app, env };
}
