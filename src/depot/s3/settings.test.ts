import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { type TestContext } from "node:test";
import { promisify } from "node:util";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { originOf, s3Settings } from "./settings.ts";

function home(t: TestContext, config?: string): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "skein-aws-"));
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  if (config !== undefined) {
    fs.mkdirSync(path.join(dir, ".aws"));
    fs.writeFileSync(path.join(dir, ".aws/config"), config);
  }
  return dir;
}

const origin = async (location: string, env: Readonly<Record<string, string>>): Promise<string> => {
  const settings = await s3Settings(location, env);
  const { origin, base } = originOf(settings, settings.region);
  return `${origin}${base} ${settings.prefix}`.trim();
};

test("where requests go: AWS by host, others by path, as the address or the variables say", async (t) => {
  const env = { HOME: home(t) };
  const cases: readonly (readonly [string, Readonly<Record<string, string>>, string])[] = [
    ["s3://shop", {}, "https://shop.s3.us-east-1.amazonaws.com"],
    ["s3://shop/a/b/", { AWS_REGION: "eu-west-1" }, "https://shop.s3.eu-west-1.amazonaws.com a/b/"],
    ["s3://shop", { AWS_DEFAULT_REGION: "cn-north-1" }, "https://shop.s3.cn-north-1.amazonaws.com.cn"],
    ["s3://my.shop", { AWS_REGION: "eu-west-1" }, "https://s3.eu-west-1.amazonaws.com/my.shop"],
    ["s3://shop", { AWS_ENDPOINT_URL: "http://127.0.0.1:9000" }, "http://127.0.0.1:9000/shop"],
    ["s3://shop?endpoint=http://[::1]:9000", {}, "http://[::1]:9000/shop"],
    ["s3://shop?style=host&endpoint=https://s3.example.org", {}, "https://shop.s3.example.org"],
    ["s3://shop?endpoint=storage.example.org/s3/", {}, "https://storage.example.org/s3/shop"],
    [
      "s3://shop?region=eu-west-3",
      { AWS_REGION: "x", SKEIN_AWS_REGION: "y" },
      "https://shop.s3.eu-west-3.amazonaws.com",
    ],
    [
      "s3://shop",
      { AWS_REGION: "x", SKEIN_AWS_REGION: "eu-west-2" },
      "https://shop.s3.eu-west-2.amazonaws.com",
    ],
    [
      "s3://shop",
      { AWS_ENDPOINT_URL: "http://a", AWS_ENDPOINT_URL_S3: "http://b", AWS_S3_STYLE: "path" },
      "http://b/shop",
    ],
  ];
  for (const [location, more, expected] of cases) {
    assert.equal(await origin(location, { ...env, ...more }), expected, location);
  }
});

test("the shared configuration says the rest, by profile", async (t) => {
  const config = [
    "[default]",
    "region = eu-central-1 # near",
    "s3 =",
    "  region = nested",
    "[profile  far ]",
    "region=ap-southeast-2",
    "endpoint_url = https://far.example.org",
  ].join("\n");
  const env = { HOME: home(t, config) };
  assert.equal(await origin("s3://shop", env), "https://shop.s3.eu-central-1.amazonaws.com");
  assert.equal(await origin("s3://shop", { ...env, AWS_PROFILE: "far" }), "https://far.example.org/shop");
  assert.equal((await s3Settings("s3://shop?profile=far", env)).region, "ap-southeast-2");
  assert.equal((await s3Settings("s3://shop", env)).regionGuessed, false);
  assert.equal((await s3Settings("s3://shop", { HOME: home(t) })).regionGuessed, true);
});

test("what is no address is refused, and a secret in one is not repeated", async (t) => {
  const env = { HOME: home(t) };
  const bad = ["s3://", "s3://A", "s3://a", "s3://shop//x", "s3://shop/../x", "s3://shop?nonsense=1"];
  const worse = [
    "s3://shop?style=both",
    "s3://shop?region=a/b",
    "s3://shop?endpoint=ftp://x",
    "s3://shop?endpoint=http://127.0.0.1:9000&style=host",
    "s3://shop?endpoint=http://[::1]:9000&style=host",
    "s3://shop?anonymous=true",
  ];
  for (const location of [...bad, ...worse]) {
    await assert.rejects(s3Settings(location, env), { code: "DEPOT_SETTINGS" }, location);
  }
  for (const location of ["s3://KEY:hunter2@shop", "s3://shop?secret=hunter2"]) {
    await assert.rejects(s3Settings(location, env), (err: Error) => !JSON.stringify(err).includes("hunter2"));
  }
  await assert.rejects(s3Settings("s3://shop?endpoint=http://u:hunter2@x", env), (err: Error) => {
    return !err.message.includes("hunter2");
  });
});

test("an empty HOME is none, and not the folder one is in", async (t) => {
  const cwd = home(t, "[default]\nregion = nowhere-1\n");
  const settings = new URL("settings.ts", import.meta.url).href;
  const script = `const { s3Settings } = await import(${JSON.stringify(settings)});
    console.log((await s3Settings("s3://shop", { HOME: "" })).region);`;
  const run = promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { cwd });
  assert.doesNotMatch((await run).stdout, /nowhere/);
});
