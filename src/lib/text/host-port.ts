/** `HOST:PORT`, with IPv6 in brackets, as URLs and people write it. */
export const hostPortText = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
