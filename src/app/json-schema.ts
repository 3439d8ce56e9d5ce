import * as z from "zod";
import { NOT_OVERLAID } from "./parse.ts";
import { fileSchema } from "./schema.ts";

type Schema = Readonly<Record<string, unknown>>;

const IGNORED = { patternProperties: { "^x-": {} } } as const;

/** docs/skein.schema.json: what editors check `skein.yaml` with. */
export function manifestJsonSchema(): Schema {
  const { properties, ...schema } = ignoring(z.toJSONSchema(fileSchema, { io: "input" })) as Schema & {
    readonly properties: Readonly<Record<string, Schema>>;
  };
  const overlaid = Object.entries(properties).filter(([name]) => !NOT_OVERLAID.includes(name));
  const environment = {
    type: "object",
    properties: partly(Object.fromEntries(overlaid)),
    additionalProperties: false,
    ...IGNORED,
  };
  const environments = { ...properties["environments"], additionalProperties: environment };
  return {
    $id: "skein.schema.json",
    title: "skein.yaml",
    description: "What an app says about itself to Skein. Keys that start with x- are ignored.",
    ...schema,
    properties: { ...properties, environments },
  };
}

/** Wherever keys are strict, those that start with x- are let be. */
function ignoring(schema: unknown): unknown {
  return mapped(schema, (one) => (one["additionalProperties"] === false ? { ...one, ...IGNORED } : one));
}

/** What lies over the rest need not say all of it. */
function partly(schema: unknown): unknown {
  return mapped(schema, (one) => {
    const { required, ...rest } = one;
    return Array.isArray(required) ? rest : one;
  });
}

function mapped(value: unknown, change: (schema: Schema) => Schema): unknown {
  if (Array.isArray(value)) return value.map((one) => mapped(one, change));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, one]) => [key, mapped(one, change)]);
  return change(Object.fromEntries(entries) as Schema);
}
