import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";
import { digestOf } from "../../lib/text/ids.ts";
import { formatTicketLine, parseTicketLine, type TicketLine } from "./ticket-line.ts";

const line = (address: string): TicketLine => ({
  pin: digestOf("charter"),
  seed: Uint8Array.from(randomBytes(32)),
  hub: { spki: digestOf("hub"), address },
});

test("a ticket's line is read back as it was written", () => {
  for (const address of ["127.0.0.1:7400", "[fd00::1]:7400", "hub.example.com:1"]) {
    const one = line(address);
    assert.deepEqual(parseTicketLine(` ${formatTicketLine(one)}\n`), one);
  }
});

test("what is no ticket is refused without repeating it", () => {
  const good = formatTicketLine(line("h:1"));
  for (const bad of ["", good.slice(1), good.replace("@h:1", ""), good.replace("@h:1", "@h"), `x${good}`]) {
    assert.throws(
      () => parseTicketLine(bad),
      (err: Error & { code?: string }) =>
        err.code === "TICKET_BAD" && !(bad !== "" && err.message.includes(bad)),
    );
  }
});
