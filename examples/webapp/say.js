// GET /WORD answers "WORD ALL HUMANS".
const http = require("node:http");

const server = http.createServer((request, response) => {
  response.end(`${decodeURIComponent(request.url.slice(1))} ALL HUMANS`);
});

server.listen(process.env.PORT, process.env.HOST);
