import os from "node:os";

/** This machine's own address that nobody else reaches: of IPv6 where its loopback has no other. */
export function loopbackHost(interfaces = os.networkInterfaces): "127.0.0.1" | "::1" {
  const inner = Object.values(interfaces()).flatMap((list) => (list ?? []).filter((one) => one.internal));
  const has = (family: "IPv4" | "IPv6"): boolean => inner.some((one) => one.family === family);
  return has("IPv6") && !has("IPv4") ? "::1" : "127.0.0.1";
}
