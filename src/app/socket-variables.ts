/** What a socket's or a process's name is in the names of environment variables: `web-ui` is `WEB_UI`. */
export function variableName(name: string): string {
  return name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_");
}

/** Where a socket is reached: by its own name, and by that of its process, too. */
export const addressVariable = (socket: string, process?: string): string =>
  ["SKEIN_ADDRESS", ...(process === undefined ? [] : [process]), socket]
    .map((part, n) => (n === 0 ? part : variableName(part)))
    .join("_");
