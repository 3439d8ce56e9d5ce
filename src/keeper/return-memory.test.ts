import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

/** Bytes that stay resident of 400 buffers of 100 kB when all but the last are given up. */
function keptAfter(setting: string): number {
  const ffi = JSON.stringify(new URL("./ffi.ts", import.meta.url).href);
  const free = JSON.stringify(new URL("../lib/memory/free.ts", import.meta.url).href);
  const script = `
    const { kernel } = await import(${ffi});
    const { freeNow } = await import(${free});
    ${setting};
    const before = process.memoryUsage.rss();
    const buffers = Array.from({ length: 400 }, () => Buffer.allocUnsafeSlow(100_000).fill(1));
    for (const buffer of buffers.slice(0, -1)) freeNow(buffer);
    process.stdout.write(String(process.memoryUsage.rss() - before));
  `;
  const flags = ["--disable-warning=ExperimentalWarning", "--input-type=module"];
  return Number(execFileSync(process.execPath, [...flags, "--eval", script], { encoding: "utf8" }));
}

test("memory that is freed goes back to the system, where by default one late buffer holds it (long)", () => {
  const bySelf = keptAfter("");
  const returned = keptAfter("kernel().returnMemory()");
  assert.ok(returned < 10e6, `${returned} bytes are kept`);
  assert.ok(bySelf > 30e6, `by default ${bySelf} bytes are kept`);
});
