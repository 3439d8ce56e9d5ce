import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { freePort } from "../../lib/testing/free-port.fixture.ts";
import { answer, world } from "../agent.fixture.ts";
import { eventually } from "../../lib/testing/eventually.fixture.ts";

test("trap 9: what would write beside its code (python's __pycache__) runs, and changes nothing there", async (t) => {
  const w = await world(t);
  const port = await freePort();
  await w.agent();
  const ordered = await w.deploy({
    "skein.yaml": `app: shop\nprocesses:\n  web: { run: python3 app.py, listen: ${port}, drain: { window: 50ms, within: 20s } }\n`,
    "words.py": 'TEXT = b"said"\n',
    "app.py": `import os, socket, words
try:
    open("beside", "w"); TEXT = b"it could write"
except OSError:
    TEXT = words.TEXT
s = socket.socket(fileno=3)
while True:
    c, _ = s.accept(); c.recv(4096)
    c.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(TEXT), TEXT)); c.close()
`,
  });
  assert.equal((await w.receipt(ordered.digest)).verdict, "ok");
  assert.equal(await eventually("an answer", async () => await answer(port)), "said");
  const dir = path.join(w.paths.lib, "apps/shop/revs", ordered.release);
  assert.deepEqual(fs.readdirSync(dir).sort(), ["app.py", "skein.yaml", "words.py"]);
});
