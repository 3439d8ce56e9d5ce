// Loaded into the hub by the transfer benchmark: one line for each request, so that they can be counted.
import { subscribe } from "node:diagnostics_channel";
import { appendFileSync } from "node:fs";

const file = process.env.SKEIN_BENCH_REQUESTS;
subscribe("http.server.request.start", ({ request }) => {
  const from = request.socket.remoteAddress ?? "";
  appendFileSync(file, `${from} ${request.method} ${request.url}\n`);
});
