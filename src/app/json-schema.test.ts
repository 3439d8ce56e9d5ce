import assert from "node:assert/strict";
import { test } from "node:test";
import { manifestJsonSchema } from "./json-schema.ts";

interface Schema {
  readonly additionalProperties?: boolean | Schema;
  readonly patternProperties?: object;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly Schema[];
}

/** Every object in it, with where it stands. */
function* objectsIn(schema: Schema, at = ""): Generator<readonly [string, Schema]> {
  yield [at, schema];
  for (const [key, one] of Object.entries(schema.properties ?? {})) yield* objectsIn(one, `${at}.${key}`);
  for (const one of schema.anyOf ?? []) yield* objectsIn(one, at);
  if (typeof schema.additionalProperties === "object")
    yield* objectsIn(schema.additionalProperties, `${at}.*`);
}

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

test("in the JSON Schema keys are strict at every depth, and in environments; x- keys are let be there, too", () => {
  const objects = [...objectsIn(manifestJsonSchema())];
  const strict = objects.filter(([, { additionalProperties }]) => additionalProperties === false);
  for (const [at, { patternProperties }] of strict)
    assert.ok(patternProperties && "^x-" in patternProperties, at);
  const places = strict.map(([at]) => at);
  for (const at of [".strategy", ".processes.*", ".processes.*.drain", ".processes.*.listen.*"])
    for (const where of [at, `.environments.*${at}`]) assert.ok(places.includes(where), where);
  const environment = new Map(objects).get(".environments.*");
  assert.equal(environment?.additionalProperties, false);
  const { app, kind, skein, environments, ...rest } = environment.properties ?? {};
  assert.deepEqual([app, kind, skein, environments], [undefined, undefined, undefined, undefined]);
  assert.ok(rest["targets"] !== undefined);
  const required = objects.flatMap(([at, one]) => (one.required === undefined ? [] : [at]));
  assert.ok(required.includes(".processes.*"));
  assert.ok(!required.some((at) => at.startsWith(".environments")), "what lies over the rest is a part");
});
