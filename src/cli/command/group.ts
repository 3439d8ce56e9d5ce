import type { Command } from "commander";
import type { Body } from "./context.ts";

/** Defines one command whose body is loaded when it runs. */
export type Run = (command: Command, body: Body) => Promise<void>;

/** Who defines which verbs, and their title in help. */
export type Groups = readonly (readonly [
  register: (program: Command, run: Run) => void,
  verbs: string,
  title: string,
])[];
