interface Named {
  readonly app: string;
  /** `web.1` */
  readonly instance: string;
  readonly release: string;
  readonly generation: number;
}

/** Unique on the node, unlike `web.1`, which every release has: `shop.web.1.3f9c2ab1`, with `.g2` after two restarts. */
export function instanceId(row: Named): string {
  const restarts = row.generation === 0 ? "" : `.g${row.generation}`;
  return `${row.app}.${row.instance}.${row.release.slice(0, 8)}${restarts}`;
}

/** `web.1` of such an id, as the instance itself knows its name; what is no such id is given back as it is. */
export function instanceOf(id: string, { app, release }: Pick<Named, "app" | "release">): string {
  const end = id.indexOf(`.${release.slice(0, 8)}`);
  return id.startsWith(`${app}.`) && end > app.length ? id.slice(app.length + 1, end) : id;
}
