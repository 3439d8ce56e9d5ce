const NAMES_SHOWN = 12;

/** Nodes as people read them: `web1, web2`; of many, the first twelve and how many more. */
export function namesOf(names: readonly string[], between = ", "): string {
  const shown = names.slice(0, NAMES_SHOWN).join(between);
  const more = names.length - NAMES_SHOWN;
  return more > 0 ? `${shown} and ${more} more` : shown;
}
