import assert from "node:assert/strict";
import test from "node:test";
import { SkeinError } from "../../lib/errors/errors.ts";
import { fakeClock, type FakeClock } from "../../lib/time/fake-clock.fixture.ts";
import { silentLog, type LogFields } from "../../lib/process/log.ts";
import { orderBody, sealOrder, testCluster } from "../../trust/cluster.fixture.ts";
import { digestOfEnvelope, readUnverified, type Envelope } from "../../trust/document/envelope.ts";
import { generateSigner } from "../../trust/keys/keys.ts";
import { Refusals } from "./refusals.ts";

interface Heard {
  readonly refusals: Refusals;
  readonly clock: FakeClock;
  /** What the log was told. */
  readonly said: string[];
}

function heard(): Heard {
  const said: string[] = [];
  const clock = fakeClock();
  const say = (message: string, fields?: LogFields): void => {
    const about = fields?.["err.message"];
    said.push(typeof about === "string" ? about : message);
  };
  const context = { clock, onNews: () => undefined } as unknown as ConstructorParameters<typeof Refusals>[0];
  const refusals = new Refusals(context, { ...silentLog, warn: say, error: say });
  return { refusals, clock, said };
}

const refusal = (message: string) =>
  ({ type: "charter", code: "DOC_FROM_FUTURE", message, alarm: false, order: null }) as const;

test("what is refused is said once, and a flood of it for an hour at most", async () => {
  const { refusals, clock, said } = heard();
  for (let n = 0; n < 1200; n++) await refusals.refuse(refusal(`document ${n % 1100}`));
  assert.equal(said.length, 1000);
  clock.advance(3_600_000);
  await refusals.refuse(refusal("document 999"));
  assert.equal(said.length, 1000, "it was said before");
  await refusals.refuse(refusal("one of the next day"));
  assert.equal(said.at(-1), "one of the next day");
});

test("an alarm is raised once, and anew when it comes back", () => {
  const { refusals, said } = heard();
  for (const message of ["300 s", "301 s", null, null, "302 s"]) refusals.alarm("CLOCK_SKEW", message);
  assert.deepEqual(said, ["300 s", "302 s"]);
});

test("a receipt that could not be written is written when the order is offered again", async () => {
  const cluster = await testCluster();
  const body = orderBody(1);
  const order = { digest: digestOfEnvelope(await sealOrder(body, cluster.alice)), body };
  const written: Envelope[] = [];
  let isFull = true;
  const put = async (receipt: Envelope): Promise<void> => {
    if (isFull) throw new SkeinError("DISK_FULL", "no room");
    written.push(receipt);
  };
  const context = {
    clock: fakeClock(),
    signer: generateSigner(),
    store: { state: { charter: cluster.charter } },
    outbox: { put },
    onNews: () => undefined,
  } as unknown as ConstructorParameters<typeof Refusals>[0];
  const refusals = new Refusals(context, silentLog);
  const refused = { ...refusal("not now"), type: "order", order };
  await assert.rejects(refusals.refuse(refused), { code: "DISK_FULL" });
  isFull = false;
  for (let n = 0; n < 2; n++) await refusals.refuse(refused);
  assert.deepEqual(
    written.map((one) => readUnverified(one, "receipt.1").order),
    [order.digest],
  );
});
