// Runs beside propagit's programs with one standing connection to the hub and one to the port table, so that what is
// measured is theirs and not the start of a client. Asked and answering by messages: {id, ask, ...} -> {id, answer}.
"use strict";
const http = require("node:http");
const { createRequire } = require("node:module");

const [folder, hub, table] = process.argv.slice(2);
const load = createRequire(`${folder}/x.js`);
const propagit = load("propagit")({ hub, secret: "bench" });
const ports = load("seaport").connect(table);

const asks = {
  drones: (_, reply) => propagit.hub((remote) => remote.drones(reply)),
  spawn: ({ repo, commit, command }, reply) =>
    propagit.hub((remote) =>
      remote.spawn({ repo, commit, command, drone: "*", env: {} }, (_, processes) => reply(processes)),
    ),
  stop: ({ drone, pid }, reply) => propagit.hub((remote) => remote.stop({ drone, pid }, () => reply(true))),
  /** Answers twice: when the first and when all `count` services of the commit have answered 200. */
  answering: ({ commit, count }, reply) => watch(commit, count, new Set(), reply),
};

function watch(commit, count, answered, reply) {
  for (const { id, host, port } of ports.query("web")) {
    if (answered.has(id)) continue;
    http
      .get({ host, port, agent: false }, (response) => {
        let text = "";
        response.on("data", (part) => (text += part));
        response.on("end", () => {
          if (response.statusCode !== 200 || text !== commit || answered.has(id)) return;
          answered.add(id);
          if (answered.size === 1) reply("first");
          if (answered.size === count) reply("all");
        });
      })
      .on("error", () => {});
  }
  if (answered.size < count) setTimeout(watch, 5, commit, count, answered, reply);
}

process.on("message", (message) => {
  asks[message.ask](message, (answer) => process.send({ id: message.id, answer }));
});
process.on("disconnect", () => process.exit());
