import * as z from "zod";
import {
  address,
  appEnv,
  clusterId,
  count,
  keyId,
  labelKey,
  labelValue,
  publicKey,
  serialNumber,
  spkiDigest,
  text,
  time,
} from "./fields.ts";
import { keyIdOf } from "../keys/keys.ts";

const GLOB = "[a-z*][a-z0-9*-]{0,38}";
const RIGHT = new RegExp(`^(deploy|secrets|root):${GLOB}/${GLOB}$`);

/** What one line of an operator's `allow` may say: `admin`, `deploy:shop/*`, `enrol:role=web,zone=a`, `enrol:*`. */
function isScope(scope: string): boolean {
  if (scope === "admin" || scope === "enrol:*" || RIGHT.test(scope)) return true;
  if (!scope.startsWith("enrol:")) return false;
  return scope
    .slice("enrol:".length)
    .split(",")
    .every((pair) => {
      const [key = "", value = "", ...rest] = pair.split("=");
      const valueReads = value === "*" || labelValue.safeParse(value).success;
      return rest.length === 0 && labelKey.safeParse(key).success && valueReads;
    });
}

const scope = () => z.string().max(512).refine(isScope, "not a scope like deploy:shop/prod");
const keyRecord = () => z.strictObject({ alg: z.enum(["raw", "sshsig", "sk"]), pub: publicKey });
const few = (max: number): [(all: object) => boolean, string] => [
  (all) => Object.keys(all).length <= max,
  `more than ${max} entries`,
];

const fields = () =>
  z.strictObject({
    cluster: clusterId,
    version: serialNumber,
    epoch: count,
    issued: time,
    expires: time,
    recovery: z.strictObject({ keys: z.array(keyId).min(1).max(32), threshold: serialNumber }),
    keys: z.record(keyId, keyRecord()).refine(...few(1024)),
    operators: z.record(keyId, z.strictObject({ name: text(64), allow: z.array(scope()).max(256) })),
    builders: z.record(
      keyId,
      z.strictObject({ name: text(64), apps: z.array(z.string().regex(new RegExp(`^${GLOB}$`))).max(256) }),
    ),
    quorum: z.record(appEnv, serialNumber.max(32)).refine(...few(4096)),
    hubs: z.record(spkiDigest, z.array(address).max(16)).refine(...few(64)),
    commands: z.boolean(),
    limits: z.record(z.string().regex(/^[a-z][A-Za-z0-9]{0,63}$/), count).refine(...few(256)),
  });

/** What must fit together inside one charter; each broken rule would let a key count twice or stand for nothing. */
const RULES: readonly [(charter: z.infer<ReturnType<typeof fields>>) => boolean, string][] = [
  [
    (c) => Object.entries(c.keys).every(([kid, key]) => keyIdOf(key) === kid),
    "a key is not the one its id names",
  ],
  [(c) => distinct(Object.values(c.keys).map((key) => key.pub)), "one key has two ids"],
  [(c) => distinct(c.recovery.keys), "a recovery key is listed twice"],
  [(c) => c.recovery.threshold <= c.recovery.keys.length, "the recovery threshold cannot be reached"],
  [(c) => c.recovery.keys.every((kid) => Object.hasOwn(c.keys, kid)), "a recovery key is not among the keys"],
  [(c) => Object.keys(c.operators).every((kid) => Object.hasOwn(c.keys, kid)), "an operator has no key"],
  [(c) => Object.keys(c.builders).every((kid) => Object.hasOwn(c.keys, kid)), "a builder has no key"],
  [(c) => c.issued < c.expires, "it expires before it is issued"],
];

export const charterSchema = () =>
  fields().superRefine((charter, context) => {
    for (const [holds, message] of RULES) {
      if (!holds(charter)) context.addIssue({ code: "custom", message });
    }
  });

function distinct(list: readonly string[]): boolean {
  return new Set(list).size === list.length;
}
