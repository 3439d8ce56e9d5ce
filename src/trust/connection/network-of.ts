import net from "node:net";

const GROUPS = 8;
const OF_A_NETWORK = 4;

/**
 * Who is counted as one: an IPv4 address, or the /64 that an IPv6 address is in, since whoever has one of these mostly
 * has all of them.
 */
export function networkOf(address: string): string {
  if (!net.isIPv6(address)) return address;
  const [text = ""] = address.split("%");
  const v4 = /^::ffff:([\d.]+)$/i.exec(text)?.[1];
  if (v4 !== undefined) return v4;
  const [left = [], right = []] = text
    .split("::")
    .map((half) => half.split(":").filter((part) => part !== ""));
  // What stands as an IPv4 address at the end is two groups.
  const named = left.length + right.length + (text.includes(".") ? 1 : 0);
  const groups = [...left, ...Array<string>(GROUPS - named).fill("0"), ...right];
  const network = groups.slice(0, OF_A_NETWORK).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(":")}::/64`;
}
