/** The count in a header that anybody may have written; undefined where there is none, or something else. */
export function countIn(header: string | readonly string[] | undefined): number | undefined {
  return typeof header === "string" && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}
