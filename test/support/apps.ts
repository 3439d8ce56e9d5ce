/** Small apps to deploy, and someone who asks them all the time. */
import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { get } from "./answers.ts";
import type { Cluster } from "./cluster.ts";
import { eventually } from "../../src/lib/testing/eventually.fixture.ts";

/** All nodes at once, and no waiting afterwards. */
export const FAST = ["--bake", "0s", "--all-at-once"] as const;

/** The rest of a manifest for `serverSource`; `auto` may be replaced by a port, which then stays from version to version. */
export const RUN =
  "run: node server.js\nlisten: auto\nhealth: { ready: { http: /, every: 50ms, within: 1m } }\n";

let ports = 8000;

/** A port that no other app of this test asks for; nodes have loopback addresses of their own. */
export const nextPort = (): number => ++ports;

/** A server.js that answers everything with `text`. */
export const serverSource = (text: string): string =>
  `require("node:http").createServer((q, r) => r.end(${JSON.stringify(text)})).listen(process.env.PORT, process.env.HOST);\n`;

/** Writes a source folder. @returns its path */
export async function writeSource(
  cluster: Cluster,
  name: string,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const dir = path.join(cluster.dir, "src", name);
  await fs.mkdir(dir, { recursive: true });
  for (const [file, text] of Object.entries(files)) {
    await fs.mkdir(path.dirname(path.join(dir, file)), { recursive: true });
    await fs.writeFile(path.join(dir, file), text, { mode: file.endsWith(".sh") ? 0o755 : 0o644 });
  }
  return dir;
}

/** Where the app's instance listens on a node (default: on any). */
export async function urlOf(cluster: Cluster, app: string, node?: string): Promise<string> {
  return await eventually(`${app} in the port table`, async () => {
    const entry = (await cluster.ports()).find(
      (one) => one.app === app && one.port !== null && (node === undefined || one.nodeName === node),
    );
    return entry === undefined ? undefined : `http://${entry.host}:${entry.port}/`;
  });
}

/** Asks a URL again and again, each time on a connection of its own, and keeps every answer that is not right. */
export class Asker implements AsyncDisposable {
  readonly url: string;
  readonly #right: ReadonlySet<string>;
  readonly #wrong: unknown[] = [];
  #asked = 0;
  #stopped = false;
  readonly #asking: Promise<void>;

  constructor(url: string, right: readonly string[]) {
    this.url = url;
    this.#right = new Set(right);
    this.#asking = this.#ask();
  }

  async #ask(): Promise<void> {
    while (!this.#stopped) {
      const answer = await get(this.url).catch((err: unknown) => err);
      this.#asked += 1;
      const text =
        typeof answer === "object" && answer !== null && "text" in answer ? answer.text : undefined;
      if (typeof text !== "string" || !this.#right.has(text)) this.#wrong.push(answer);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }

  /** Fails unless every answer until now was right. */
  unharmed(): void {
    assert.ok(this.#asked > 0);
    assert.deepEqual(this.#wrong, []);
  }

  /** Ends the asking. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#asking;
  }
}
