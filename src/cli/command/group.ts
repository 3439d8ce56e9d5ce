import type { Command } from "commander";
import type { Body } from "./context.ts";

/** Defines one command whose body is loaded when it runs. */
export type Run = (command: Command, body: Body) => Promise<void>;

/** Who defines which verbs. */
export type Groups = readonly (readonly [(program: Command, run: Run) => void, string])[];
