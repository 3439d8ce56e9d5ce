import path from "node:path";
import { makeSnapshot } from "./make.ts";

await makeSnapshot(path.resolve(import.meta.dirname, ".."), process.env);
