"use strict";
/*
 * Closes the HTTP connections of a server that drains on which nothing is asked, so that no request is lost with them:
 * one that lies unread in the socket when it is closed is answered by a reset.
 */
const { performance } = require("perf_hooks");

/** A turn of the loop that took no longer has left hardly anything unread that came meanwhile. */
const SHORT_TURN_MS = 2;
/** Of a window: how long it takes at most until it is seen that it is over. */
const LOOK_SHARE = 10;
const LEAST_LOOK_MS = 10;
const LONGEST_LOOK_MS = 100;
/** Open connections -> bytes read before the first request, and how many had gone over it when that last changed. */
const spoken = new Map();

/** A connection begins to speak HTTP. */
function speaks(socket) {
  spoken.set(socket, { first: socket.bytesRead, bytes: -1, at: 0 });
  socket.once("close", () => spoken.delete(socket));
}

/** A busy process may have requests waiting unread: two turns of the loop, and what was there has been read. */
function afterReading(act) {
  setImmediate(() =>
    setImmediate(() => {
      const began = performance.now();
      setImmediate(() => act(began));
    }),
  );
}

/**
 * From now on each of them is closed once it was idle for the window. What came since the loop last read would be lost,
 * and in a process that is held up that may be long ago: there it has as much time again to be closed in a short turn.
 */
function closeIdle(server, windowMs) {
  afterReading((began) => {
    for (const socket of idleOf(server)) {
      const isRead = performance.now() - began < SHORT_TURN_MS;
      const idleMs = began - spoken.get(socket).at;
      if (idleMs >= (isRead ? windowMs : 2 * windowMs)) socket.destroy();
    }
    const lookMs = Math.min(Math.max(windowMs / LOOK_SHARE, LEAST_LOOK_MS), LONGEST_LOOK_MS);
    setTimeout(() => closeIdle(server, windowMs), lookMs).unref();
  });
}

/**
 * Those on which nothing is asked, and nothing left to be sent. Node takes one with an answer that is not yet sent for
 * idle, and a browser's that never asked anything for busy.
 */
function idleOf(server) {
  const all = [...spoken.keys()].filter((socket) => socket.server === server);
  const idle = new Set(all.filter((socket) => socket.bytesRead === spoken.get(socket).first));
  for (const socket of all) socket.destroy = () => idle.add(socket);
  server.closeIdleConnections();
  for (const socket of all) delete socket.destroy;
  return [...idle].filter((socket) => {
    const known = spoken.get(socket);
    const bytes = socket.bytesRead + socket.bytesWritten;
    const isSending = socket.writableLength > 0;
    if (bytes !== known.bytes || isSending) Object.assign(known, { bytes, at: performance.now() });
    return !isSending;
  });
}

module.exports = { afterReading, closeIdle, speaks };
