import assert from "node:assert/strict";
import { test } from "node:test";
import { bootText, hubUnit, nodeUnits } from "./units.ts";

test("the units leave instances alone when the keeper or the agent is stopped", () => {
  const [keeper, agent] = nodeUnits({
    skein: "/usr/bin/skein",
    home: "/srv/my skein",
    args: ["--address", "[fd00::1]", "--name", "50%$x"],
  });
  assert.match(keeper.text, /^KillMode=process$/m);
  assert.match(keeper.text, /^OOMPolicy=continue$/m);
  assert.match(keeper.text, /^Environment="SKEIN_HOME=\/srv\/my skein"$/m);
  assert.match(keeper.text, /^ExecStart=\/usr\/bin\/skein keeper$/m);
  assert.match(
    agent.text,
    /^ExecStart=\/usr\/bin\/skein agent run --no-keeper --address "\[fd00::1\]" --name "50%%\$\$x"$/m,
  );
  for (const { text } of [keeper, agent]) assert.match(text, /^StartLimitIntervalSec=0$/m);
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
    environmentFile: "/etc/skein/hub.env",
    args: ["--depot", "s3://releases/skein"],
  };
  const { file, text } = hubUnit(options);
  assert.equal(file, "skein-hub.service");
  assert.match(text, /^ExecStart=\/usr\/bin\/skein hub --depot s3:\/\/releases\/skein$/m);
  assert.match(text, /^EnvironmentFile=-\/etc\/skein\/hub\.env$/m);
  assert.match(bootText("hub", options), /^setsid \/usr\/bin\/skein hub --depot s3:\/\/releases\/skein </m);
});
