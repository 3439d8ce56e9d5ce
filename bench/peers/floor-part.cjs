// The programs of floor.ts, each as bare as it can be: `node floor-part.cjs hub|agent|deploy SETTINGS …`.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");
const tls = require("node:tls");

const NODES = 2;
const [role, settings, ...words] = process.argv.slice(2);
const { port, keys } = JSON.parse(fs.readFileSync(settings, "utf8"));
const roles = { hub, agent, deploy };
roles[role](...words);

function tlsOf(name) {
  const { key, cert } = keys[name];
  return { key, cert, minVersion: "TLSv1.3", rejectUnauthorized: false };
}

const holds = (socket, ...names) =>
  names.some((name) => socket.getPeerX509Certificate()?.fingerprint256 === keys[name].fingerprint);

const isSigned = ({ order, signature }) =>
  crypto.verify(null, Buffer.from(order), keys.operator.cert, Buffer.from(signature, "base64"));

/** Durable when it returns. */
function record(file, text) {
  fs.appendFileSync(file, `${text}\n`, { flush: true });
}

/** Takes pushes by git's own HTTP, and orders; hands each order to the nodes that wait for one. */
function hub(folder) {
  const { execFile, spawn } = require("node:child_process");
  const repo = `${folder}/web.git`;
  const waiting = [];
  const git = (req, res, ...more) => {
    const child = spawn("git", ["receive-pack", "--stateless-rpc", ...more, repo]);
    req.pipe(child.stdin);
    child.stdout.pipe(res);
  };
  const refuse = (res) => {
    res.writeHead(403).end();
  };
  const tell = (text, tree) => {
    if (waiting.length < NODES) setTimeout(tell, 2, text, tree);
    else for (const node of waiting.splice(0)) node.writeHead(200, { order: text }).end(tree);
  };
  const takeOrder = (text, res) => {
    record(`${folder}/orders`, text);
    res.end();
    const archive = ["--git-dir", repo, "archive", JSON.parse(JSON.parse(text).order).commit];
    execFile("git", archive, { encoding: "buffer" }, (err, tree) => {
      if (err) throw err;
      tell(text, tree);
    });
  };
  const order = (text, res) => (isSigned(JSON.parse(text)) ? takeOrder(text, res) : refuse(res));
  const refs = (req, res) => {
    res.setHeader("content-type", "application/x-git-receive-pack-advertisement");
    res.write("001f# service=git-receive-pack\n0000");
    git(req, res, "--advertise-refs");
  };
  const server = require("node:https").createServer({ ...tlsOf("hub"), requestCert: true }, (req, res) => {
    if (!holds(req.socket, "operator", "node")) refuse(res);
    else if (req.url === "/wanted") waiting.push(res);
    else if (req.url === "/order") req.setEncoding("utf8").once("data", (text) => order(text, res));
    else if (req.method === "GET") refs(req, res);
    else git(req, res.setHeader("content-type", "application/x-git-receive-pack-result"));
  });
  server.listen(port, "127.0.0.1");
}

/** Starts what it is told to, and tells where that answers once it does. */
function agent(folder, host) {
  const https = require("node:https");
  const { spawn } = require("node:child_process");
  const keepAlive = new https.Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 });
  let running;
  const wait = () =>
    https.get({ ...tlsOf("node"), host: "127.0.0.1", port, path: "/wanted", agent: keepAlive }, (res) => {
      if (!holds(res.socket, "hub")) throw new Error("another hub");
      const pieces = [];
      res.on("data", (piece) => pieces.push(piece));
      res.on("end", () => {
        take(res.headers.order, Buffer.concat(pieces));
        wait();
      });
    });
  const take = (text, tree) => {
    if (!isSigned(JSON.parse(text))) throw new Error("nobody signed that");
    record(`${folder}/orders`, text);
    const { commit } = JSON.parse(JSON.parse(text).order);
    unpack(tree, `${folder}/${commit}`);
    const free = require("node:net")
      .createServer()
      .listen(0, host, () => {
        const own = free.address().port;
        free.close(() => {
          const env = { PATH: process.env.PATH, HOST: host, PORT: own, COMMIT: commit };
          const old = running;
          running = spawn(process.execPath, ["server.js"], {
            cwd: `${folder}/${commit}`,
            env,
            stdio: "ignore",
          });
          whenReady(host, own, () => {
            fs.writeFileSync(`${folder}/next`, String(own));
            fs.renameSync(`${folder}/next`, `${folder}/current`);
            old?.kill();
          });
        });
      });
  };
  wait();
}

function unpack(tar, into) {
  fs.mkdirSync(into);
  for (let at = 0; tar[at] > 0;) {
    const name = tar.toString("latin1", at, tar.indexOf(0, at));
    const size = Number.parseInt(tar.toString("latin1", at + 124, at + 135), 8);
    if (tar[at + 156] === 0x30) fs.writeFileSync(`${into}/${name}`, tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

function whenReady(host, port, done) {
  const again = () => setTimeout(whenReady, 2, host, port, done);
  const request = require("node:http").get({ host, port, agent: false }, (res) => {
    res.resume();
    if (res.statusCode === 200) done();
    else again();
  });
  request.on("error", again);
}

/** Signs an order and hands it in. HTTP is spoken by hand: Node's takes as long to load as all the rest. */
function deploy(commit) {
  const order = JSON.stringify({ commit, at: new Date().toISOString() });
  const signature = crypto.sign(null, Buffer.from(order), keys.operator.key).toString("base64");
  const body = JSON.stringify({ order, signature });
  const socket = tls.connect({ ...tlsOf("operator"), ca: [], host: "127.0.0.1", port }, () => {
    if (!holds(socket, "hub")) throw new Error("another hub");
    socket.write(`POST /order HTTP/1.1\r\nhost: hub\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  });
  socket.setEncoding("latin1").once("data", (head) => {
    process.exitCode = head.startsWith("HTTP/1.1 200 ") ? 0 : 1;
    socket.destroy();
  });
}
