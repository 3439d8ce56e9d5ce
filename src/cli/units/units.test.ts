import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { atEnd } from "../../lib/testing/at-end.fixture.ts";
import { bootText, homeIn, hubUnit, nodeUnits } from "./units.ts";

test("the units leave instances alone when the keeper or the agent is stopped", () => {
  const [keeper, agent] = nodeUnits({
    skein: "/usr/bin/skein",
    home: "/srv/my skein",
    args: ["--address", "[fd00::1]", "--name", "50%$x"],
  });
  assert.match(keeper.text, /^KillMode=process$/m);
  assert.match(keeper.text, /^ManagedOOMPreference=omit$/m);
  assert.match(
    keeper.text,
    /^LimitNOFILE=\d{1,6}$/m,
    "what apps inherit is no invitation to make room for all of it",
  );
  assert.match(keeper.text, /^Environment="SKEIN_HOME=\/srv\/my skein"$/m);
  assert.equal(homeIn(keeper.text), "/srv/my skein");
  assert.match(keeper.text, /^ExecStart=\/usr\/bin\/skein keeper$/m);
  assert.match(
    agent.text,
    /^ExecStart=\/usr\/bin\/skein agent run --no-keeper --address "\[fd00::1\]" --name "50%%\$\$x"$/m,
  );
  for (const { text } of [keeper, agent]) {
    assert.match(text, /^StartLimitIntervalSec=0$/m);
    assert.match(text, /^OOMPolicy=continue$/m);
  }
  assert.match(agent.text, /^After=.*skein-keeper\.service$/m);
  assert.deepEqual([keeper.file, agent.file], ["skein-keeper.service", "skein-agent.service"]);
});

test("the line for boot without systemd quotes what a shell would read", () => {
  const text = bootText("agent", { skein: "/opt/it's/skein", home: "/srv/a b", args: [] });
  assert.match(text, /SKEIN_HOME='\/srv\/a b' setsid '\/opt\/it'\\''s\/skein' agent run <\/dev\/null/);
});

test("a hub's unit reads secrets from a file, never from the command line", () => {
  const options = {
    skein: "/usr/bin/skein",
    environmentFile: "/etc/skein/50%/hub.env",
    args: ["--depot", "s3://releases/skein"],
  };
  const { file, text } = hubUnit(options);
  assert.equal(file, "skein-hub.service");
  assert.match(text, /^ExecStart=\/usr\/bin\/skein hub --depot s3:\/\/releases\/skein$/m);
  assert.equal(homeIn(text), undefined);
  assert.match(text, /^NoNewPrivileges=yes$/m);
  assert.match(text, /^OOMPolicy=continue$/m);
  assert.match(text, /^EnvironmentFile=-\/etc\/skein\/50%%\/hub\.env$/m);
  assert.match(bootText("hub", options), /^setsid \/usr\/bin\/skein hub --depot s3:\/\/releases\/skein </m);
});

test("instances are ended with the machine, and not with the keeper alone", async (t) => {
  const dir = await mkdtemp(path.join(os.tmpdir(), "skein-units-"));
  atEnd(t, async () => await rm(dir, { recursive: true, force: true }));
  const skein = path.join(dir, "it's 50% $kein");
  const [keeper] = nodeUnits({ skein, args: [] });
  const [, line = ""] = /^ExecStop=\/bin\/sh -c "(.*)"$/m.exec(keeper.text) ?? [];
  const script = line.replaceAll(/\\(.)/g, "$1").replaceAll("$$", "$").replaceAll("%%", "%"); // as systemd reads it
  await writeFile(skein, '#!/bin/sh\necho "skein $*"\n', { mode: 0o755 });
  const when = async (state: string): Promise<string> => {
    await writeFile(path.join(dir, "systemctl"), `#!/bin/sh\necho ${state}\nexit 1\n`, { mode: 0o755 });
    const env = { PATH: `${dir}:/usr/bin:/bin` };
    return (await promisify(execFile)("/bin/sh", ["-c", script], { env })).stdout;
  };
  assert.equal(await when("stopping"), "skein keeper --shutdown\n");
  assert.equal(await when("running"), "");
  assert.equal(await when("degraded"), "");
});
