import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { namedSettings, unitText } from "./ftl-units.ts";

test("what runs sync by itself names settings and program as they are", () => {
  const text = unitText("/opt/my skein/skein", { SKEIN_ROOT: "/srv/$x y", SKEIN_BUCKET: "s3://b/50%" });
  assert.match(text, /^Environment="SKEIN_ROOT=\/srv\/\$x y"$/m);
  assert.match(text, /^Environment=SKEIN_BUCKET=s3:\/\/b\/50%%$/m);
  assert.match(text, /^ExecStart="\/opt\/my skein\/skein" ftl sync/m);
  assert.match(text, /^OOMPolicy=continue$/m);
  assert.match(
    text,
    /^@reboot {6}root {2}set -a; \[ ! -r \/etc\/skein\/sync\.env \] \|\| \. \/etc\/skein\/sync\.env; SKEIN_ROOT='\/srv\/\$x y' SKEIN_BUCKET=s3:\/\/b\/50\\% '\/opt\/my skein\/skein' ftl sync --quiet$/m,
  );
});

test("what runs sync by itself does so as it was told to", () => {
  const text = unitText("/bin/skein", {}, { every: "10s", maxAge: "7d", wait: "1m" });
  assert.match(text, /^ExecStart=\/bin\/skein ftl sync --every 10s --max-age 7d --wait 1m$/m);
  assert.match(text, /^@reboot .* ftl sync --quiet --max-age 7d --wait 1m$/m);
  const plain = unitText("/bin/skein", {}, { wait: "5m" });
  assert.match(plain, /^ExecStart=\/bin\/skein ftl sync --every 30s$/m);
  assert.match(plain, /ftl sync --quiet$/m);
  assert.throws(() => unitText("/bin/skein", {}, { every: "10" }), { code: "USAGE" });
});

test("what runs sync by itself finds the files of who printed it, and is told no secret", () => {
  const told = namedSettings({
    AWS_CONFIG_FILE: "aws/config",
    SKEIN_AWS_SHARED_CREDENTIALS_FILE: "/srv/credentials",
    AWS_CA_BUNDLE: "./ca.pem",
    SKEIN_HOME: "",
    AWS_PROFILE: "far",
    AWS_SECRET_ACCESS_KEY: "hunter2",
  });
  assert.deepEqual(told, {
    AWS_CONFIG_FILE: path.resolve("aws/config"),
    SKEIN_AWS_SHARED_CREDENTIALS_FILE: "/srv/credentials",
    AWS_CA_BUNDLE: path.resolve("ca.pem"),
    AWS_PROFILE: "far",
  });
});
