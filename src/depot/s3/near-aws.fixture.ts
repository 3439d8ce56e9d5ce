/**
 * For tests, loaded before a program (`node --import`): what it sends to a host of AWS's arrives at the port of this
 * machine that SKEIN_TEST_AWS names. Who asks, what is asked and TLS are real; only the name leads elsewhere.
 */
import { createRequire } from "node:module";
import type tls from "node:tls";

// As `node:https` has it: an import's own names cannot be set.
const real = createRequire(import.meta.url)("node:tls") as {
  connect: (options: tls.ConnectionOptions) => unknown;
};
const connect = real.connect;
real.connect = (options, ...more: []) =>
  connect(
    options.host?.endsWith(".amazonaws.com") === true
      ? {
          ...options,
          host: "127.0.0.1",
          port: Number(process.env["SKEIN_TEST_AWS"]),
          checkServerIdentity: () => undefined,
        }
      : options,
    ...more,
  );
