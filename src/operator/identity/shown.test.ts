import assert from "node:assert/strict";
import test from "node:test";
import { SkeinError, type ErrorCode } from "../../lib/errors/errors.ts";
import { shown } from "./shown.ts";

const failing = (code: ErrorCode) => (): never => {
  throw new SkeinError(code, "it does not hold");
};

test("what does not hold was altered where it is kept, but a document of the future may be told by a wrong clock", () => {
  assert.throws(() => shown("an order", failing("DOC_UNSIGNED")), { hint: /altered\.$/ });
  assert.throws(() => shown("an order", failing("DOC_FROM_FUTURE")), {
    message: "an order is shown that does not hold: it does not hold",
    hint: /^Set the clock/,
  });
});
