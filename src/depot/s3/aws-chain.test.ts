/** Credentials that AWS's own services give, against a server that speaks their protocols under their names. */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import type { IncomingMessage } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import test, { type TestContext } from "node:test";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { tlsIdentity } from "../../trust/connection/tls.ts";
import { home, seenBy } from "./chain.fixture.ts";
import { sharedS3Server } from "./s3-server.fixture.ts";

const server = sharedS3Server({ conditional: false });
const ROLE = "arn:aws:iam::123456789012:role/releases";
/** Where the bucket is; sign-on is somewhere else, as it mostly is. */
const [BUCKET_REGION, SSO_REGION] = ["us-east-1", "us-west-2"];
const START = "https://house.awsapps.com/start";

/** An AWS of one house: what was asked of which of its hosts, and what a process needs to reach it. */
async function aws(t: TestContext) {
  const asked: string[] = [];
  const { privateKey } = generateKeyPairSync("ed25519");
  const identity = tlsIdentity(privateKey, "localhost");
  const front = https.createServer(identity, (req, res) => {
    void (async () => {
      const body = await text(req);
      const host = req.headers.host ?? "";
      const [service = ""] = host.split(".");
      const answer = ANSWERS[service]?.(req, body);
      asked.push(`${host} ${answer?.what ?? "refused"}`);
      const type = answer?.type ?? "text/plain";
      res.writeHead(answer === undefined ? 403 : 200, { "content-type": type }).end(answer?.text);
    })();
  });
  await once(front.listen(0, "127.0.0.1"), "listening");
  atEnd(t, () => {
    front.closeAllConnections();
    front.close();
  });
  const dir = home(t, { "ca.pem": identity.cert });
  const env = {
    NODE_EXTRA_CA_CERTS: path.join(dir, ".aws/ca.pem"),
    NODE_OPTIONS: `--import=${path.join(import.meta.dirname, "near-aws.fixture.ts")}`,
    SKEIN_TEST_AWS: String((front.address() as AddressInfo).port),
    AWS_REGION: BUCKET_REGION,
  };
  return { asked, env };
}

interface Given {
  readonly what: string;
  readonly type: string;
  readonly text: string;
}
type Answer = (req: IncomingMessage, body: string) => Given | undefined;

const ANSWERS: Readonly<Record<string, Answer>> = {
  sts: (req, body) => {
    const form = new URLSearchParams(body);
    const action = form.get("Action") ?? "";
    if (form.get("RoleArn") !== ROLE || form.get("Version") !== "2011-06-15") return undefined;
    if (action === "AssumeRoleWithWebIdentity" && form.get("WebIdentityToken") !== "a web token")
      return undefined;
    const by = /Credential=([^/]+)\/\d+\/([^/]+)\/sts\//.exec(req.headers.authorization ?? "");
    if (action === "AssumeRole" && by?.[1] !== "source") return undefined;
    return { what: [action, by?.[2]].filter(Boolean).join(" "), type: "text/xml", text: sts(action) };
  },
  portal: (req) => {
    const url = new URL(req.url ?? "", "https://x");
    const bearer = String(req.headers["x-amz-sso_bearer_token"]);
    const wanted =
      url.pathname === "/federation/credentials" && url.searchParams.get("role_name") === "releases";
    if (!wanted || url.searchParams.get("account_id") !== "123456789012") return undefined;
    if (!["signed on", "signed on anew"].includes(bearer)) return undefined;
    const keys = { accessKeyId: "test:tester", secretAccessKey: "testing", sessionToken: "session" };
    const roleCredentials = { ...keys, expiration: Date.parse("2099-01-01T00:00:00Z") };
    return { what: bearer, type: "application/json", text: JSON.stringify({ roleCredentials }) };
  },
  oidc: (_req, body) => {
    const { grantType, refreshToken } = JSON.parse(body) as Record<string, string>;
    if (grantType !== "refresh_token" || refreshToken !== "again") return undefined;
    const token = {
      accessToken: "signed on anew",
      tokenType: "Bearer",
      expiresIn: 3600,
      refreshToken: "again",
    };
    return { what: "refreshed", type: "application/json", text: JSON.stringify(token) };
  },
};

const sts = (action: string): string =>
  `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><Credentials>` +
  "<AccessKeyId>test:tester</AccessKeyId><SecretAccessKey>testing</SecretAccessKey>" +
  "<SessionToken>session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>" +
  `</${action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></${action}Response>`;

const tokenFile = (t: TestContext): string => path.join(home(t, { token: "a web token" }), ".aws/token");

test("a web identity token, by variables or a profile, is exchanged where the bucket is (long)", async (t) => {
  const { asked, env } = await aws(t);
  const file = tokenFile(t);
  const byVariables = { AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: ROLE };
  assert.equal(await seenBy(t, await server(), { ...env, ...byVariables, HOME: home(t, {}) }), "found");
  const config = `[profile pod]\nrole_arn = ${ROLE}\nweb_identity_token_file = ${file}\n`;
  const byProfile = { HOME: home(t, { config }), AWS_PROFILE: "pod" };
  assert.equal(await seenBy(t, await server(), { ...env, ...byProfile }), "found");
  const host = `sts.${BUCKET_REGION}.amazonaws.com`;
  const ours = { SKEIN_AWS_WEB_IDENTITY_TOKEN_FILE: file, SKEIN_AWS_ROLE_ARN: ROLE, AWS_ROLE_ARN: "another" };
  assert.equal(await seenBy(t, await server(), { ...env, ...ours, HOME: home(t, {}) }), "found");
  assert.deepEqual(asked, Array(3).fill(`${host} AssumeRoleWithWebIdentity`));
  fs.writeFileSync(file, "another one");
  const refused = await seenBy(t, await server(), { ...env, ...byVariables, HOME: home(t, {}) });
  assert.match(refused, /^DEPOT_CREDENTIALS /);
});

test("a role is taken on with the keys of another profile", async (t) => {
  const { asked, env } = await aws(t);
  const config = `[profile deploy]\nrole_arn = ${ROLE}\nsource_profile = me\n`;
  const credentials = "[me]\naws_access_key_id = source\naws_secret_access_key = hush\n";
  const seen = await seenBy(t, await server(), {
    ...env,
    HOME: home(t, { config, credentials }),
    AWS_PROFILE: "deploy",
  });
  assert.equal(seen, "found");
  assert.deepEqual(asked, [`sts.${BUCKET_REGION}.amazonaws.com AssumeRole ${BUCKET_REGION}`]);
});

const SSO = "sso_account_id = 123456789012\nsso_role_name = releases\n";
const cached = (name: string): string => `sso/cache/${createHash("sha1").update(name).digest("hex")}.json`;

test("single sign-on is asked in its own region, with the token that signing on left", async (t) => {
  const { asked, env } = await aws(t);
  const config = [
    `[profile old]\nsso_start_url = ${START}\nsso_region = ${SSO_REGION}\n${SSO}`,
    `[profile new]\nsso_session = house\n${SSO}`,
    `[sso-session house]\nsso_start_url = ${START}\nsso_region = ${SSO_REGION}\n`,
  ].join("\n");
  const token = JSON.stringify({ accessToken: "signed on", expiresAt: "2099-01-01T00:00:00Z" });
  const HOME = home(t, { config, [cached(START)]: token, [cached("house")]: token });
  assert.equal(await seenBy(t, await server(), { ...env, HOME, AWS_PROFILE: "old" }), "found");
  assert.equal(await seenBy(t, await server(), { ...env, HOME }, "?profile=new"), "found");
  const host = `portal.sso.${SSO_REGION}.amazonaws.com`;
  assert.deepEqual(asked, [`${host} signed on`, `${host} signed on`]);
});

test("a sign-on that has ended is renewed where it can be; else what to type is said", async (t) => {
  const { asked, env } = await aws(t);
  const session = `[sso-session house]\nsso_start_url = ${START}\nsso_region = ${SSO_REGION}\n`;
  const config = `[profile new]\nsso_session = house\n${SSO}\n${session}`;
  const ended = { accessToken: "signed on", expiresAt: "2020-01-01T00:00:00Z" };
  const client = { clientId: "skein", clientSecret: "hush", refreshToken: "again" };
  const renewable = home(t, { config, [cached("house")]: JSON.stringify({ ...ended, ...client }) });
  assert.equal(await seenBy(t, await server(), { ...env, HOME: renewable, AWS_PROFILE: "new" }), "found");
  assert.deepEqual(asked, [
    `oidc.${SSO_REGION}.amazonaws.com refreshed`,
    `portal.sso.${SSO_REGION}.amazonaws.com signed on anew`,
  ]);
  const over = home(t, { config, [cached("house")]: JSON.stringify(ended) });
  const said = await seenBy(t, await server(), { ...env, HOME: over, AWS_PROFILE: "new" });
  assert.match(said, /^DEPOT_CREDENTIALS .*aws sso login/);
});
