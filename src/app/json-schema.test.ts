import assert from "node:assert/strict";
import { test } from "node:test";
import { manifestJsonSchema } from "./json-schema.ts";

test("the JSON Schema is strict, knows the short forms and lets x- keys be", () => {
  const schema = manifestJsonSchema() as {
    additionalProperties: boolean;
    patternProperties: object;
    properties: Record<string, { anyOf?: { type?: string }[] }>;
  };
  assert.equal(schema.additionalProperties, false);
  assert.ok("^x-" in schema.patternProperties);
  assert.ok(schema.properties["build"]?.anyOf?.some(({ type }) => type === "string"));
  assert.ok(schema.properties["environments"] !== undefined);
  assert.equal(schema.properties["routes"], undefined);
});
