import fs from "node:fs/promises";
import { rootCertificates } from "node:tls";
import { messageOf, SkeinError } from "../../lib/errors/errors.ts";
import { awsVariable, type Environment } from "./settings.ts";

/**
 * All that a server may show, where `AWS_CA_BUNDLE` names certificates to be trusted besides the built-in ones.
 * @returns undefined where it names none
 * @throws SkeinError DEPOT_SETTINGS
 */
export async function ownCertificates(env: Environment): Promise<readonly string[] | undefined> {
  const file = awsVariable(env, "AWS_CA_BUNDLE");
  if (file === undefined) return undefined;
  try {
    return [...rootCertificates, await fs.readFile(file, "utf8")];
  } catch (err) {
    throw new SkeinError("DEPOT_SETTINGS", `AWS_CA_BUNDLE cannot be read: ${messageOf(err)}`);
  }
}
