/** `node git-remote.child.ts FILE REMOTE URL`: `git-remote-skein` of tests, which calls a hub as the file says. */
import fs from "node:fs";
import { HubLine, type HubLineOptions } from "../../api/hub-line.ts";
import { gitRemote, parseSkeinUrl } from "./git-remote.ts";
import { isSkeinError } from "../../lib/errors/errors.ts";

const [, , file = "", , url = ""] = process.argv;
const options = JSON.parse(fs.readFileSync(file, "utf8")) as HubLineOptions;
const client = new HubLine(options);
const { repo } = parseSkeinUrl(url);
try {
  await gitRemote({
    input: process.stdin,
    output: process.stdout,
    connect: async (service) => await client.git(repo, service),
  });
} catch (err) {
  if (!isSkeinError(err)) throw err;
  console.error(err.code, err.message);
  process.exitCode = 1;
} finally {
  client.close();
}
