// GET / answers the greeting; GET /WORD asks the say service of this very release to shout WORD.
const http = require("node:http");

const GREETING = "beep boop";

async function shout(word) {
  const answer = await fetch(`${process.env.SKEIN_REGISTRY}/services/say?wait=5s`);
  const [say] = await answer.json();
  if (say === undefined) throw new Error("no say service of this release");
  const reply = await fetch(`http://${say.host}:${say.port}/${word}`);
  return reply.text();
}

const server = http.createServer(async (request, response) => {
  const word = decodeURIComponent(request.url.slice(1));
  response.setHeader("x-release", process.env.SKEIN_RELEASE ?? "");
  try {
    if (word === "up") response.end("ok\n");
    else response.end(word === "" ? `${GREETING}\n` : `${await shout(word)}\n`);
  } catch (error) {
    response.statusCode = 502;
    response.end(`${error.message}\n`);
  }
});

server.listen(process.env.PORT, process.env.HOST);
