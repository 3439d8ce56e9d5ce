/** The operator of this machine, for one command. */
import type { Question } from "../../api/hub-caller.ts";
import { isSkeinError, SkeinError } from "../../lib/errors/errors.ts";
import type { Caller, OpenOptions, Operator } from "../../operator/identity/operator.ts";
import { first } from "./has-bucket.ts";

export interface LineToHub {
  /** Begins to open the line to a hub, for whoever asks for the operator soon. */
  readonly connect: () => void;
  /** @param ahead what will be asked for next, where that is known */
  readonly operator: (ahead?: readonly Question[]) => Promise<Operator>;
  readonly close: () => Promise<void>;
}

/** @param optionsOf asked when the line is first used */
export function lineToHub(optionsOf: () => OpenOptions): LineToHub {
  let calling: Promise<Caller> | undefined;
  let opened: Promise<Operator> | undefined;
  return {
    connect: () => {
      // Its failure is told to whoever asks for the operator.
      (calling ??= callerHere(optionsOf())).catch(() => undefined);
    },
    operator: async (ahead = []) => {
      const options = { ...optionsOf(), ahead };
      if (opened === undefined) return await (opened = openHere(options, (calling ??= callerHere(options))));
      const operator = await opened;
      if (ahead.length > 0) operator.client.together(ahead, options.signal);
      return operator;
    },
    close: async () => {
      await opened?.catch(() => undefined);
      (await calling?.catch(() => undefined))?.client.close();
    },
  };
}

async function callerHere(options: OpenOptions): Promise<Caller> {
  const { openCaller } = await import("../../operator/identity/operator.ts");
  return await openCaller(options);
}

async function openHere(options: OpenOptions, caller: Promise<Caller>): Promise<Operator> {
  const { openOperator } = await import("../../operator/identity/operator.ts");
  return await openOperator(options, caller).catch((err: unknown) => {
    const told = first(process.env["SKEIN_BUCKET"], process.env["FTL_BUCKET"]);
    if (told === undefined || !isSkeinError(err, "NO_CLUSTER")) throw err;
    // A machine that pulls: a cluster of its own is the last thing that it wants.
    throw new SkeinError("NO_CLUSTER", err.message, {
      hint: "What is here: skein ftl list [PACKAGE]; what the bucket has: skein list --master [PACKAGE].",
      data: err.data,
      cause: err,
    });
  });
}
