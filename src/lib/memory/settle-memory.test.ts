import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { PATIENCE_MS } from "../testing/patience.fixture.ts";

const run = promisify(execFile);

test("what starting left behind is given back, and the program ends when it has nothing else to do (long)", async () => {
  const module = new URL("./settle-memory.ts", import.meta.url).href;
  const script = `
    import { settleMemory } from ${JSON.stringify(module)};
    let litter = Array.from({ length: 200_000 }, (_, n) => ({ n }));
    const watched = new WeakRef(litter);
    litter = undefined;
    settleMemory();
    const look = setInterval(() => {
      if (watched.deref() !== undefined) return;
      clearInterval(look);
      console.log("collected");
    }, 50);`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], {
    timeout: PATIENCE_MS,
  });
  assert.equal(stdout, "collected\n");
});
