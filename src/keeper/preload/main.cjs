"use strict";
/*
 * For handover mode `node`: loaded with --require (through NODE_OPTIONS, so that it reaches the server behind
 * `npm start` and cluster workers) into any Node from 14 on. It needs nothing and never throws into the app.
 *
 * SKEIN_HANDOVER = {"sockets":[{"name","protocol","port","host","path","fd","probe","given"}],"gate":fd,"status":fd,
 *                   "windowMs":n,"signal":"SIGTERM"}; `given` is the number that the app knows the socket by.
 *
 * - A listen or bind on a socket's port, path or descriptor goes to the private `probe` descriptor first. When the
 *   gate file says `go`, the public descriptor `fd` is attached to the same server; the probe stays.
 * - On the drain's signal the one that loses nothing: stop accepting, answer everything further with
 *   `Connection: close`, close what was idle for the window, exit when empty. An app's own handler may call close()
 *   as it likes: for HTTP servers that means the same then.
 * - Descriptors are handed on to child processes, which npm and its shell would otherwise lose.
 */
const fs = require("fs");
const net = require("net");
const http = require("http");
const dgram = require("dgram");
const childProcess = require("child_process");
const { afterReading, closeIdle, speaks } = require("./idle.cjs");

/** A gate opens soon after the app listens, or much later: looked at ever less often, from 1 ms to this. */
const GATE_POLL_MS = 10;
const GATE_PATIENCE = 1.05;
const plan = readPlan();
const { listen, close: closeNet } = net.Server.prototype;
const { bind } = dgram.Socket.prototype;
const servers = new Map(); // the app's server -> its twin on the public socket, or null
const datagrams = new Map(); // the app's UDP socket -> its twin on the public socket, or null
const taken = new Set(); // names: a second server (localhost is two addresses) has nothing left to listen on
const connections = new Set();
const sessions = new Set(); // HTTP/2
const drainsOnClose = new Set();
const onGo = [];
let children = 0;
let open = false;
let draining = false;

if (plan !== undefined) {
  patchListen();
  patchClose();
  patchAnswers();
  patchDatagrams();
  patchSpawn();
  process.on(plan.signal, drain);
  process.on("exit", tellCut);
}

function readPlan() {
  try {
    return process.env.SKEIN_HANDOVER ? JSON.parse(process.env.SKEIN_HANDOVER) : undefined;
  } catch {
    return undefined;
  }
}

function tell(line) {
  try {
    fs.writeSync(plan.status, `${line}\n`);
  } catch {
    // the keeper that read it is gone; the app must not notice
  }
}

// The gate

function gateIsOpen() {
  const buffer = Buffer.alloc(2);
  try {
    open = open || (fs.readSync(plan.gate, buffer, 0, 2, 0) === 2 && buffer.toString() === "go");
  } catch {
    // not inherited: this process was started past the hand-over and attaches nothing
  }
  return open;
}

function whenOpen(act) {
  if (gateIsOpen()) {
    process.nextTick(act);
    return;
  }
  onGo.push(act);
  if (onGo.length > 1) return;
  lookAgainIn(1);
}

function lookAgainIn(ms) {
  const look = () => {
    if (gateIsOpen()) for (const waiting of onGo.splice(0)) waiting();
    else lookAgainIn(Math.min(ms * GATE_PATIENCE, GATE_POLL_MS));
  };
  setTimeout(look, ms).unref();
}

/** Which of the plan's sockets a listen or bind means. */
function wanted(first, datagram) {
  const options = first !== null && typeof first === "object" ? first : undefined;
  const port = Number(options ? options.port : first);
  const path = options ? options.path : first;
  return plan.sockets.find((socket) => {
    if ((socket.protocol === "udp") !== datagram) return false;
    if (options && options.fd !== undefined) return options.fd === socket.given;
    return socket.path ? path === socket.path : port > 0 && port === socket.port;
  });
}

// Streams

function patchListen() {
  net.Server.prototype.listen = function (...args) {
    const socket = wanted(args[0], false);
    if (socket === undefined) return listen.apply(this, args);
    const callback = args.find((arg) => typeof arg === "function");
    if (taken.has(socket.name)) return listen.call(this, { port: 0, host: "127.0.0.1" }, callback);
    taken.add(socket.name);
    if (isTls(this)) drainOnClose(require("https").Server);
    if (!servers.has(this)) track(this);
    servers.set(this, null);
    this.once("listening", () => tell(`listening ${socket.name}`));
    whenOpen(() => attach(this, socket));
    if (socket.port > 0) this.address = () => publicAddress(socket);
    return listen.call(this, { fd: socket.probe }, callback);
  };
}

/** Apps print it, or tell it to others: where it was asked to listen, not where it is judged. */
function publicAddress({ host, port }) {
  return { address: host, family: net.isIPv6(host) ? "IPv6" : "IPv4", port };
}

/** Told without Node's TLS, which takes longer to load than most apps: whose server it is has loaded it. */
function isTls(server) {
  return typeof server.setSecureContext === "function";
}

function track(server) {
  server.prependListener("connection", (socket) => {
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
  });
  const begins = isTls(server) ? "secureConnection" : "connection";
  server.prependListener(begins, speaks);
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    drainWhenClosed(server);
    if (draining) sayGoodbye(session);
  });
}

/** HTTP/2 servers have a close() of their own, which refuses streams that are on their way. */
function drainWhenClosed(server) {
  if (Object.prototype.hasOwnProperty.call(server, "close")) return;
  server.close = drainingClose(server.close);
}

function drainingClose(close) {
  return function (done) {
    if (!draining || !servers.has(this)) return close.call(this, done);
    holdOpen();
    stopAccepting(this, done);
    return this;
  };
}

/**
 * Says up to which stream all are answered. One that the client sent meanwhile is above that: it learns so at once, and
 * repeats it elsewhere. Node knows no goaway() after which more are taken.
 */
function sayGoodbye(session) {
  if (session.destroyed) return;
  holdFor(session);
  afterReading(() => {
    if (session.destroyed || session.closed) return;
    session.goaway(0);
    setTimeout(() => session.close(), plan.windowMs).unref();
  });
}

/** While a session closes it may neither read nor write for a moment, which Node takes for the end of all work. */
function holdFor(session) {
  const held = setInterval(() => undefined, 1000);
  session.once("close", () => clearInterval(held));
}

/** A twin accepts on the public socket and gives all it accepts to the app's server. */
function attach(server, socket) {
  if (draining || !servers.has(server)) return;
  const { allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay } = server;
  const twin = net.createServer({ allowHalfOpen, pauseOnConnect, noDelay, keepAlive, keepAliveInitialDelay });
  twin.on("connection", (connection) => {
    connection.server = server;
    count(connection, twin, server);
    server.emit("connection", connection);
  });
  twin.on("error", (err) => tell(`error ${socket.name} ${err.code || err.message}`));
  servers.set(server, twin);
  listen.call(twin, { fd: socket.fd }, () => tell(`attached ${socket.name}`));
}

/** The app's server counts the connection as its own: its close() ends after the last one. */
function count(connection, twin, server) {
  if (connection._server !== twin) return;
  connection._server = server;
  twin._connections -= 1;
  server._connections += 1;
}

function patchClose() {
  net.Server.prototype.close = function (done) {
    const twin = servers.get(this);
    servers.delete(this);
    if (twin) closeNet.call(twin);
    return closeNet.call(this, done);
  };
  drainOnClose(http.Server);
}

function drainOnClose({ prototype }) {
  if (drainsOnClose.has(prototype)) return;
  drainsOnClose.add(prototype);
  prototype.close = drainingClose(prototype.close);
}

function patchAnswers() {
  const { writeHead } = http.ServerResponse.prototype;
  http.ServerResponse.prototype.writeHead = function (...args) {
    if (draining && !this.headersSent) this.shouldKeepAlive = false;
    return writeHead.apply(this, args);
  };
}

// Drain

function drain() {
  if (draining) return;
  draining = true;
  const own = process.listeners(plan.signal).some((listener) => listener !== drain);
  if (own) return; // its handler closes the servers; close() is the good one from now on
  if (servers.size + datagrams.size === 0) {
    if (children > 0) exitAfterChildren();
    else endBySignal();
    return;
  }
  holdOpen();
  let left = servers.size + datagrams.size;
  const one = () => {
    left -= 1;
    if (left === 0) process.exit(0);
  };
  for (const server of servers.keys()) stopAccepting(server, one);
  for (const [socket, twin] of datagrams) {
    for (const each of [socket, twin]) stopReceiving(each);
    setTimeout(() => {
      socket.close();
      one();
    }, plan.windowMs);
  }
}

/** Only the listening ends here: idle connections stay for the window, busy ones until they are answered. */
function stopAccepting(server, done) {
  const twin = servers.get(server);
  servers.delete(server);
  let left = twin ? 2 : 1;
  const one = () => {
    left -= 1;
    if (left === 0 && done) done();
  };
  if (twin) closeNet.call(twin, one);
  closeNet.call(server, one);
  for (const session of sessions) sayGoodbye(session);
  if (typeof server.closeIdleConnections === "function") closeIdle(server, plan.windowMs);
}

/** Keeps the process for the whole window, also when nothing is connected: a client may be about to reuse. */
function holdOpen() {
  if (connections.size > 0) setTimeout(() => undefined, plan.windowMs);
}

/** npm, a cluster's primary and the like: their children got the same signal; they end when these have. */
function exitAfterChildren() {
  setInterval(() => {
    if (children === 0) process.exit(0);
  }, GATE_POLL_MS);
}

function endBySignal() {
  process.removeListener(plan.signal, drain);
  process.kill(process.pid, plan.signal);
}

/** Zero is told too: npm, which served nobody, may die by the signal, and then only this says how its server ended. */
function tellCut() {
  if (taken.size === 0) return;
  const cut = [...connections].filter((socket) => !socket.destroyed && !socket.writableFinished).length;
  tell(`cut ${cut}`);
}

// Datagrams: received on the probe, later on the public socket; answers leave from where they are expected.

function patchDatagrams() {
  dgram.Socket.prototype.bind = function (...args) {
    const socket = wanted(args[0], true);
    if (socket === undefined) return bind.apply(this, args);
    const callback = args.find((arg) => typeof arg === "function");
    datagrams.set(this, null);
    this.once("close", () => datagrams.delete(this));
    this.once("listening", () => tell(`listening ${socket.name}`));
    whenOpen(() => attachDatagrams(this, socket));
    return bind.call(this, { fd: socket.probe }, callback);
  };
}

function attachDatagrams(app, socket) {
  const twin = dgram.createSocket(app.type);
  datagrams.set(app, twin);
  twin.on("message", (message, from) => app.emit("message", message, from));
  twin.on("error", (err) => app.emit("error", err));
  bind.call(twin, { fd: socket.fd }, () => {
    app.send = twin.send.bind(twin);
    tell(`attached ${socket.name}`);
  });
  app.once("close", () => twin.close());
}

/** What is not taken stays for the next version; what was taken can still be answered. Node has no call for it. */
function stopReceiving(socket) {
  const symbol =
    socket && Object.getOwnPropertySymbols(socket).find((one) => one.description === "state symbol");
  const handle = symbol && socket[symbol] && socket[symbol].handle;
  if (handle && typeof handle.recvStop === "function") handle.recvStop();
}

// Children: the descriptors are handed on under free numbers.

function patchSpawn() {
  const { spawn } = childProcess.ChildProcess.prototype;
  childProcess.ChildProcess.prototype.spawn = function (options) {
    const result = spawn.call(this, handOn(options));
    if (this.pid === undefined) return result;
    children += 1;
    this.once("exit", () => {
      children -= 1;
    });
    return result;
  };
}

function handOn(options) {
  const pairs = options.envPairs || [];
  const at = pairs.findIndex((pair) => pair.startsWith("SKEIN_HANDOVER="));
  if (at < 0) return options;
  const { stdio } = options;
  const all = typeof stdio === "string" ? [stdio, stdio, stdio] : [...(stdio || [])];
  while (all.length < 3) all.push("pipe");
  const give = (fd) => all.push(fd) - 1;
  // a cluster's worker listens through its primary, by the primary's numbers
  const worker = require("cluster").isMaster && pairs.some((pair) => pair.startsWith("NODE_UNIQUE_ID="));
  const renumber = (socket) => ({ ...socket, fd: give(socket.fd), probe: give(socket.probe) });
  const sockets = worker ? plan.sockets : plan.sockets.map(renumber);
  const next = { ...plan, sockets, gate: give(plan.gate), status: give(plan.status) };
  const envPairs = [...pairs];
  envPairs[at] = `SKEIN_HANDOVER=${JSON.stringify(next)}`;
  return { ...options, stdio: all, envPairs };
}
