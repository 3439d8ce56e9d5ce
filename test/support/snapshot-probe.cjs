// What a program that begins with a snapshot must not have from the one that was frozen; all of it was asked for there.
const crypto = require("node:crypto");
const { startupSnapshot } = require("node:v8");

const look = () => ({
  word: process.env.WORD,
  argv: process.argv.slice(2),
  cwd: process.cwd(),
  umask: process.umask(),
  offset: new Date(2026, 1, 1).getTimezoneOffset(),
  random: [Math.random(), Math.random()],
  bytes: crypto.randomBytes(8).toString("hex"),
  key: crypto.generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x,
  began: performance.timeOrigin,
  sinceBegin: performance.now(),
});
look();
startupSnapshot.setDeserializeMainFunction(() => console.log(JSON.stringify(look())));
