/** The program behind `bin/git-remote-skein REMOTE URL`. */
import { HubClient } from "../api/hub-client.ts";
import { systemClock } from "../lib/clock.ts";
import { isSkeinError, messageOf } from "../lib/errors.ts";
import { pathsFrom } from "../lib/paths.ts";
import { readConfig, readCharters } from "../operator/home.ts";
import { hubsFor, signerFor } from "../operator/operator.ts";
import { openSession } from "../operator/session.ts";
import { openChain } from "../trust/charter.ts";
import { shown } from "./io.ts";
import { gitRemote, hubsNamed, parseSkeinUrl, type GitService } from "./git-remote.ts";

/** @returns the exit status */
export async function gitRemoteMain(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  try {
    const { hub, repo } = parseSkeinUrl(args[1] ?? args[0] ?? "");
    const paths = pathsFrom(env);
    const config = await readConfig(paths);
    const charter = openChain(await readCharters(paths), config.pin, systemClock.now()).body;
    const signer = await signerFor(paths, config);
    const { identity, session } = await openSession(paths, config.cluster, signer, systemClock);
    const hubs = hubsNamed(hub, hubsFor(config, charter));
    using client = new HubClient({ hubs, identity, session });
    const connect = async (service: GitService) => await client.git(repo, service);
    await gitRemote({ input: process.stdin, output: process.stdout, connect });
    return 0;
  } catch (err) {
    const code = isSkeinError(err) ? ` [${err.code}]` : "";
    process.stderr.write(`skein: ${shown(messageOf(err))}${code}\n`);
    if (isSkeinError(err)) process.stderr.write(`skein: ${shown(err.hint)}\n`);
    return isSkeinError(err) ? err.exit : 1;
  }
}

if (import.meta.main) process.exitCode = await gitRemoteMain(process.argv.slice(2), process.env);
