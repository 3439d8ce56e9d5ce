import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";
import { digestOf } from "../../lib/text/ids.ts";
import { testCluster, ticketFor } from "../cluster.fixture.ts";
import { formatCarriedTicket, parseCarriedTicket } from "./carried-ticket.ts";

const ticket = await ticketFor(await testCluster(), {});
const one = { pin: digestOf("charter"), seed: Uint8Array.from(randomBytes(32)), ticket };
const packed = (value: unknown): string =>
  `skjb1_${Buffer.from(JSON.stringify(value)).toString("base64url")}`;
const written = { pin: one.pin, seed: Buffer.from(one.seed).toString("base64url"), ticket };

test("a ticket that carries itself is read back as it was written", () => {
  assert.deepEqual(parseCarriedTicket(` ${formatCarriedTicket(one)}\n`), one);
  assert.equal(formatCarriedTicket(one), packed(written));
});

test("what is no such ticket is refused without repeating it", () => {
  const good = formatCarriedTicket(one);
  const bad = [
    "",
    good.slice(1),
    `x${good}`,
    good.replace("skjb1_", "skj1_"),
    `${good}=`,
    good.slice(0, -10),
    packed({ ...written, seed: "AAAA" }),
    packed({ ...written, pin: "charter" }),
    packed({ ...written, more: 1 }),
    packed({ ...written, ticket: { ...ticket, s: 7 } }),
    packed({ ...written, ticket: { ...ticket, p: "A".repeat(60_000) } }),
  ];
  for (const text of bad) {
    assert.throws(
      () => parseCarriedTicket(text),
      (err: Error & { code?: string }) =>
        err.code === "TICKET_BAD" && (text === "" || !err.message.includes(text)),
      text.slice(0, 80),
    );
  }
});
