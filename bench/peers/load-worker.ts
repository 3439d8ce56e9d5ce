import { parentPort, workerData } from "node:worker_threads";
import { Load, type LoadOptions } from "../../src/agent/runtime/load.fixture.ts";

/** Sends on a thread of its own, so that what drives the hand-overs delays no request. Any message ends it. */
const load = new Load(workerData as LoadOptions);
parentPort?.once("message", () => {
  void load.end().then((result) => parentPort?.postMessage(result));
});
