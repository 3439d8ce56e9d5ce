const DURATION = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
const SIZE = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;

/** `90s`, `1m30s`, `500ms`, `2h`: whole milliseconds, as documents have them; undefined when it is not a duration. */
export function parseDurationMs(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d|w))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g)) {
    total += Number(amount) * DURATION[unit as keyof typeof DURATION];
  }
  return Math.round(total);
}

/** The shortest exact form of a duration: `90000` is `1m30s`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  if (rest === 0) return "0s";
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"] as const) {
    const amount = Math.floor(rest / DURATION[unit]);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * DURATION[unit];
  }
  return text;
}

/** `512MiB`, `1GB`, `100B`: bytes; undefined when it is not a size. */
export function parseSizeBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(B|KB|MB|GB|KiB|MiB|GiB|TiB)$/.exec(text);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * SIZE[match[2] as keyof typeof SIZE]);
}

/** The shortest exact form of a size: `536870912` is `512MiB`. */
export function formatSize(bytes: number): string {
  const units = Object.entries(SIZE).sort(([, a], [, b]) => b - a);
  const [unit, size] = units.find(([, one]) => bytes >= one && bytes % one === 0) ?? ["B", 1];
  return `${bytes / size}${unit}`;
}

/** For people: `1.4 MB`, `512 B`. */
export function formatBytes(bytes: number): string {
  for (const unit of ["GB", "MB", "KB"] as const) {
    if (bytes >= SIZE[unit]) return `${(bytes / SIZE[unit]).toFixed(1)} ${unit}`;
  }
  return `${bytes} B`;
}

/** `  hub 1.2 MB, disk 40.0 MB`: where bytes came from; what travelled first, then what was here. */
export function sourcesText(sources: Readonly<Record<string, number | undefined>> = {}): string {
  const { disk, ...travelled } = sources;
  const parts = Object.entries({ ...travelled, disk }).filter(
    ([, bytes]) => bytes !== undefined && bytes > 0,
  );
  if (parts.length === 0) return "";
  return `  ${parts.map(([source, bytes]) => `${source} ${formatBytes(bytes ?? 0)}`).join(", ")}`;
}
