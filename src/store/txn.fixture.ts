import * as fc from "fast-check";
import type { Compare, Op, Txn } from "./store.ts";

const anyKey = fc.constantFrom("/m/a", "/m/ab", "/m/b", "/m/c");
const anyPut = fc.record({
  op: fc.constant("put" as const),
  key: anyKey,
  value: fc.constantFrom("1", "2", ""),
});
const anyDelete: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ op: fc.constant("delete" as const), key: anyKey }),
  fc.record({ op: fc.constant("deletePrefix" as const), prefix: fc.constantFrom("/m/a", "/m/", "/m/c") }),
);
const anyBranch: fc.Arbitrary<Op[]> = fc.oneof(
  fc.uniqueArray(anyPut, { selector: (op) => op.key, maxLength: 3 }),
  fc.array(anyDelete, { maxLength: 2 }),
);
const anyCompare: fc.Arbitrary<Compare> = fc.oneof(
  fc.record({
    key: anyKey,
    target: fc.constantFrom("modRevision" as const, "createRevision" as const, "version" as const),
    op: fc.constantFrom("=" as const, "!=" as const, "<" as const, ">" as const),
    value: fc.nat(4),
  }),
  fc.record({
    key: anyKey,
    target: fc.constant("value" as const),
    op: fc.constantFrom("=" as const, "!=" as const),
    value: fc.constantFrom("1", "2"),
  }),
);
/** Transactions over so few keys and values that they often meet. */
export const anyTxn: fc.Arbitrary<Txn> = fc.record({
  compare: fc.array(anyCompare, { maxLength: 2 }),
  then: anyBranch,
  orElse: anyBranch,
});
