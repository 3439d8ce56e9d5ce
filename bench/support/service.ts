const SERVER = [
  'const http = require("http");',
  "const server = http.createServer((request, response) => response.end(process.env.COMMIT));",
  "server.listen(process.env.PORT, process.env.HOST);",
  "",
].join("\n");

/** The next version of a service of one file that answers with its own commit, for all nodes at once without a bake. */
export function serviceFiles(port: number): Record<string, string> {
  return {
    // This very Node, not the machine's: every peer runs on it too.
    "skein.yaml": [
      "app: web",
      `run: [${JSON.stringify(process.execPath)}, server.js]`,
      `listen: ${port}`,
      "strategy: { type: all_at_once, bake: 0s }",
      "",
    ].join("\n"),
    "server.js": SERVER,
    "notes.txt": String(Math.random()),
  };
}
