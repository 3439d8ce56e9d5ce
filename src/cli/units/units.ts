import { commandWord, cronWord, environmentWord, shellWord } from "./unit-words.ts";

/** What the units need to know about this machine. */
export interface UnitOptions {
  /** The absolute path of the `skein` launcher. */
  readonly skein: string;
  /** Set as SKEIN_HOME in every unit; absent: the system's folders. */
  readonly home?: string;
  /** Read where it is there: credentials of a bucket, which belong on no command line. */
  readonly environmentFile?: string;
  /** Further words after `skein agent run` or `skein hub`, such as `--address 10.0.0.7`. */
  readonly args: readonly string[];
}

export interface Unit {
  readonly file: string;
  readonly text: string;
}

/**
 * Two systemd units. The keeper's `KillMode=process` leaves the instances alone when the keeper stops, and
 * `OOMPolicy=continue` keeps one app's memory from taking every other app with it, in the agent's unit a hook's from
 * taking the agent; systemd-oomd, which ends whole control groups, is told to omit the keeper's. Apps may have as many
 * descriptors as it: `infinity` is a thousand million on some systems, and there are programs that make room for each.
 * The agent waits for that keeper: one of its own would live in the agent's control group, and end with everything it
 * holds when the agent stops. Neither is ever given up on (`StartLimitIntervalSec=0`): a full disk or a hub that is
 * away may last.
 */
export function nodeUnits(options: UnitOptions): readonly [keeper: Unit, agent: Unit] {
  const { skein, environment, secrets } = wordsOf(options);
  const agent = [skein, "agent", "run", "--no-keeper", ...options.args.map(commandWord)].join(" ");
  return [
    {
      file: "skein-keeper.service",
      text: `[Unit]
Description=Skein keeper: holds listening sockets and instances
After=network.target
StartLimitIntervalSec=0

[Service]
Type=simple
${environment}ExecStart=${skein} keeper
Restart=always
RestartSec=1
ExecStop=${atHalt(options)}
TimeoutStopSec=300
KillMode=process
OOMPolicy=continue
ManagedOOMPreference=omit
OOMScoreAdjust=-500
LimitNOFILE=524288
TasksMax=infinity
Delegate=yes

[Install]
WantedBy=multi-user.target
`,
    },
    {
      file: "skein-agent.service",
      text: `[Unit]
Description=Skein agent: verifies orders and converges this node
After=network-online.target skein-keeper.service
Wants=network-online.target skein-keeper.service
StartLimitIntervalSec=0

[Service]
Type=simple
${environment}${secrets}ExecStart=${agent}
Restart=always
RestartSec=1
KillMode=mixed
OOMPolicy=continue
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
`,
    },
  ];
}

/**
 * When the machine goes down, instances end as their manifests say, while there are a network and file systems; left
 * to systemd, they would be told after it took those away. When only the keeper is stopped, nothing happens to them.
 */
const atHalt = ({ skein }: UnitOptions): string => {
  const ask = '[ "$(systemctl is-system-running)" != stopping ]';
  return `/bin/sh -c ${commandWord(`${ask} || exec ${shellWord(skein)} keeper --shutdown`)}`;
};

/**
 * What a hub never needs. Nothing of it takes folders away or makes them read-only: where a hub's are is its
 * operator's to say. An agent starts what needs all of this, as users of their own.
 */
const CONFINED = `NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_DAC_OVERRIDE CAP_FOWNER CAP_CHOWN
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native`;

/**
 * A hub holds nothing that must outlive it. As many connections as there are nodes want as many descriptors. Where a
 * git or a delta's maker took too much memory, that is ended, and not the hub (`OOMPolicy=continue`).
 */
export function hubUnit(options: UnitOptions): Unit {
  const { skein, environment, secrets } = wordsOf(options);
  return {
    file: "skein-hub.service",
    text: `[Unit]
Description=Skein hub: documents, rollouts, git, the port table
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=simple
${environment}${secrets}ExecStart=${[skein, "hub", ...options.args.map(commandWord)].join(" ")}
Restart=always
RestartSec=1
OOMPolicy=continue
TimeoutStopSec=20
LimitNOFILE=65536
${CONFINED}

[Install]
WantedBy=multi-user.target
`,
  };
}

/** Which SKEIN_HOME a unit's text is for, as it stands there; undefined: the system's folders. */
export const homeIn = (text: string): string | undefined =>
  /^Environment="?SKEIN_HOME=(.*?)"?$/m.exec(text)?.[1];

interface UnitWords {
  readonly skein: string;
  /** Whole lines of a unit, or nothing. */
  readonly environment: string;
  readonly secrets: string;
}

function wordsOf({ skein, home, environmentFile: file }: UnitOptions): UnitWords {
  return {
    skein: commandWord(skein),
    environment: home === undefined ? "" : `Environment=${environmentWord("SKEIN_HOME", home)}\n`,
    secrets: file === undefined ? "" : `EnvironmentFile=-${file.replaceAll("%", "%%")}\n`,
  };
}

/** The lines for machines without systemd: for /etc/rc.local, runit, or `@reboot` in root's crontab. */
export function bootText(program: "agent" | "hub", options: UnitOptions): string {
  const verb = program === "agent" ? ["agent", "run"] : ["hub"];
  const words = [options.skein, ...verb, ...options.args];
  const line = (word: typeof shellWord): readonly string[] => [
    options.home === undefined ? "" : `SKEIN_HOME=${word(options.home)} `,
    words.map(word).join(" "),
  ];
  const [environment, command] = line(shellWord);
  const note = program === "agent" ? "; the agent starts the keeper by itself and keeps no terminal" : "";
  return `# start at boot, as root${note}
${environment}setsid ${command} </dev/null >>/var/log/skein-${program}.log 2>&1 &
# the same as one line of root's crontab:
# @reboot ${line(cronWord).join("")} >>/var/log/skein-${program}.log 2>&1
`;
}
