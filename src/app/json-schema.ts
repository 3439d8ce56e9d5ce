import * as z from "zod";
import { fileSchema } from "./schema.ts";

/** docs/skein.schema.json: what editors check `skein.yaml` with. */
export function manifestJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(fileSchema, { io: "input" });
  return {
    $id: "skein.schema.json",
    title: "skein.yaml",
    description: "What an app says about itself to Skein. Keys that start with x- are ignored.",
    ...schema,
    patternProperties: { "^x-": {} },
  };
}
