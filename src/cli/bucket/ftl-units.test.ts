import assert from "node:assert/strict";
import { test } from "node:test";
import { unitText } from "./ftl-units.ts";

test("what runs sync by itself names settings and program as they are", () => {
  const text = unitText("/opt/my skein/skein", { SKEIN_ROOT: "/srv/$x y", SKEIN_BUCKET: "s3://b/50%" });
  assert.match(text, /^Environment="SKEIN_ROOT=\/srv\/\$x y"$/m);
  assert.match(text, /^Environment=SKEIN_BUCKET=s3:\/\/b\/50%%$/m);
  assert.match(text, /^ExecStart="\/opt\/my skein\/skein" ftl sync/m);
  assert.match(
    text,
    /^@reboot {6}root {2}SKEIN_ROOT='\/srv\/\$x y' SKEIN_BUCKET=s3:\/\/b\/50\\% '\/opt\/my skein\/skein' ftl sync --quiet$/m,
  );
});
