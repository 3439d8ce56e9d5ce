/** The examples that AWS publishes for Signature Version 4 with S3. */
import assert from "node:assert/strict";
import test from "node:test";
import { EMPTY_SHA256, pathAndQuery, presignedUrl, signedHeaders, type SignFor } from "./sign.ts";

const ORIGIN = "https://examplebucket.s3.amazonaws.com";
const by: SignFor = {
  credentials: {
    accessKeyId: "AKIAIOSFODNN7EXAMPLE",
    secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  },
  region: "us-east-1",
  nowMs: Date.parse("2013-05-24T00:00:00Z"),
};

const signatureOf = (headers: Readonly<Record<string, string>>): string | undefined =>
  /Signature=([0-9a-f]{64})$/.exec(headers["authorization"] ?? "")?.[1];

test("a range of an object is signed as in AWS's example", () => {
  const request = {
    method: "GET",
    origin: ORIGIN,
    path: "/test.txt",
    query: {},
    headers: { range: "bytes=0-9" },
  };
  assert.equal(
    signatureOf(signedHeaders(request, EMPTY_SHA256, by)),
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  );
});

test("an upload is signed as in AWS's example, odd characters in its key included", () => {
  const headers = { date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" };
  const request = { method: "PUT", origin: ORIGIN, path: "/test$file.text", query: {}, headers };
  const payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
  assert.equal(
    signatureOf(signedHeaders(request, payload, by)),
    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
  );
});

test("parameters without a value and lists are signed as in AWS's examples", () => {
  const lifecycle = { method: "GET", origin: ORIGIN, path: "/", query: { lifecycle: "" }, headers: {} };
  assert.equal(
    signatureOf(signedHeaders(lifecycle, EMPTY_SHA256, by)),
    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  );
  const list = {
    method: "GET",
    origin: ORIGIN,
    path: "/",
    query: { prefix: "J", "max-keys": "2" },
    headers: {},
  };
  assert.equal(
    signatureOf(signedHeaders(list, EMPTY_SHA256, by)),
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  );
});

test("an address that works for a day is signed as in AWS's example", () => {
  const request = { method: "GET", origin: ORIGIN, path: "/test.txt", query: {}, headers: {} };
  const url = presignedUrl(request, 86_400, by);
  assert.match(url, /X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404&/);
});

test("a session's token is sent, and stands under the signature", () => {
  const request = { method: "GET", origin: ORIGIN, path: "/test.txt", query: {}, headers: {} };
  const session: SignFor = { ...by, credentials: { ...by.credentials, sessionToken: "a/token+" } };
  const headers = signedHeaders(request, EMPTY_SHA256, session);
  assert.equal(headers["x-amz-security-token"], "a/token+");
  assert.match(
    headers["authorization"] ?? "",
    /SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,/,
  );
  assert.ok(!("x-amz-security-token" in signedHeaders(request, EMPTY_SHA256, by)));
  const url = new URL(presignedUrl({ ...request, headers: { range: "bytes=0-9" } }, 60, session));
  assert.equal(url.searchParams.get("X-Amz-Security-Token"), "a/token+");
  assert.equal(url.searchParams.get("X-Amz-SignedHeaders"), "host;range");
  assert.equal(pathAndQuery("/a", {}), "/a");
});

test("all but the unreserved characters is encoded, and a path's slashes stay", () => {
  assert.equal(
    pathAndQuery("/a b/ä+(1)*'!~", { "x y": "&=" }),
    "/a%20b/%C3%A4%2B%281%29%2A%27%21~?x%20y=%26%3D",
  );
});
