import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { alternately, type Bench, rounded } from "./bench.ts";
import { builtPackage } from "./support/built.ts";

const run = promisify(execFile);
const GOAL = 2;

/**
 * `skein --help` as installed: the launcher, which finds the packaged Node, and all that it prints. The peer is the same
 * Node with nothing to do.
 */
export const bench: Bench = async function* ({ quick, signal }) {
  const { command } = await builtPackage(signal);
  const node = path.join(path.dirname(command), "../node_modules/.bin/node");
  const timed = async (program: string, args: readonly string[]): Promise<number> => {
    const begin = performance.now();
    await run(program, args, { signal });
    return performance.now() - begin;
  };
  const help = async (): Promise<number> => await timed(command, ["--help"]);
  await help(); // what is compiled is kept by the first start on a machine
  const { ours, peer } = await alternately(quick ? 25 : 101, signal, help, () => timed(node, ["-e", "0"]));
  yield {
    bench: "start",
    case: "ms of skein --help",
    ours: rounded(ours),
    peer: rounded(peer),
    peer_name: "node -e 0",
    ratio: rounded(ours / peer),
    goal: `ours <= ${GOAL} peer`,
    met: ours <= GOAL * peer,
  };
};
