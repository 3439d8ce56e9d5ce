import fs from "node:fs/promises";
import { isIP } from "node:net";
import os from "node:os";
import path from "node:path";
import { readIfThere } from "../../lib/disk/files.ts";
import { SkeinError } from "../../lib/errors/errors.ts";

/** Where a bucket is and how it is spoken to. Holds no secret. */
export interface S3Settings {
  readonly bucket: string;
  /** "" or ends with `/`; what every key begins with. */
  readonly prefix: string;
  readonly region: string;
  /** Nobody said which region: the one that the server names is taken. */
  readonly regionGuessed: boolean;
  /** `https://host[:port]`, without the bucket; undefined: AWS's own. */
  readonly endpoint: URL | undefined;
  /** `path`: the bucket is the first part of the path; `host`: it is the first part of the host. */
  readonly style: "path" | "host";
  /** Requests carry no signature: the bucket is open to be read. */
  readonly anonymous: boolean;
  /** `[name]` of the shared files. */
  readonly profile: string | undefined;
  /** It is named in the address or for Skein alone, and goes before keys in variables. */
  readonly profileGoesFirst: boolean;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const REGION = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
const OPTIONS = ["endpoint", "region", "style", "anonymous", "profile"];
const DEFAULT_REGION = "us-east-1";

/** A variable of AWS's, or Skein's own that goes before it: `SKEIN_AWS_REGION` before `AWS_REGION`. */
export function awsVariable(env: Environment, name: string): string | undefined {
  const value = env[`SKEIN_${name}`] ?? env[name];
  return value === "" ? undefined : value;
}

/**
 * Reads `s3://BUCKET[/PREFIX][?endpoint=URL&region=R&style=path|host&anonymous=yes&profile=P]`. What it does not say
 * comes from the variables of AWS (or `SKEIN_AWS_…`), then from the shared configuration file.
 * @throws SkeinError DEPOT_SETTINGS
 */
export async function s3Settings(location: string, env: Environment): Promise<S3Settings> {
  const { bucket, prefix, options } = parseLocation(location);
  const ownProfile = options.get("profile") ?? (env["SKEIN_AWS_PROFILE"] || undefined);
  const profile = ownProfile ?? awsVariable(env, "AWS_PROFILE");
  const shared = await sharedConfig(env, profile ?? "default");
  const said = (option: string, variables: readonly string[], inFile?: string): string | undefined =>
    options.get(option) ??
    variables.map((name) => awsVariable(env, name)).find((value) => value !== undefined) ??
    (inFile === undefined ? undefined : shared.get(inFile));
  const region = said("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], "region");
  const endpoint = said("endpoint", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"], "endpoint_url");
  const style = said("style", ["AWS_S3_STYLE"]);
  const server = endpoint === undefined ? undefined : parseEndpoint(endpoint);
  return {
    bucket,
    prefix,
    region: checked(region ?? DEFAULT_REGION, REGION, "region"),
    regionGuessed: region === undefined,
    endpoint: server,
    style: style === undefined ? defaultStyle(bucket, server) : checkedStyle(style, server),
    anonymous: isYes(options.get("anonymous") ?? "no"),
    profile,
    profileGoesFirst: ownProfile !== undefined,
  };
}

/** `https://bucket.s3.eu-west-1.amazonaws.com`, and what the path begins with. */
export function originOf(settings: S3Settings, region: string): { origin: string; base: string } {
  const china = region.startsWith("cn-") ? ".cn" : "";
  const endpoint = settings.endpoint ?? new URL(`https://s3.${region}.amazonaws.com${china}`);
  const base = endpoint.pathname.replace(/\/$/, "");
  if (settings.style === "path") return { origin: endpoint.origin, base: `${base}/${settings.bucket}` };
  return { origin: `${endpoint.protocol}//${settings.bucket}.${endpoint.host}`, base };
}

function parseLocation(location: string): {
  readonly bucket: string;
  readonly prefix: string;
  readonly options: ReadonlyMap<string, string>;
} {
  const [address = "", query = ""] = location.slice("s3://".length).split("?", 2);
  if (address.includes("@") || query.toLowerCase().includes("secret")) {
    // Not repeated in the message: it may hold one.
    throw new SkeinError("DEPOT_SETTINGS", "credentials do not belong into an s3:// address", {
      hint: "Give them as the standard chain reads them: variables, shared files, or the machine's role.",
    });
  }
  const slash = address.indexOf("/");
  const bucket = slash === -1 ? address : address.slice(0, slash);
  const folders = slash === -1 ? [] : address.slice(slash + 1).split("/");
  if (folders.at(-1) === "") folders.pop();
  if (!BUCKET.test(bucket) || folders.some((part) => part === "" || part === "." || part === "..")) {
    throw new SkeinError("DEPOT_SETTINGS", `${location} is not of the form s3://BUCKET/PREFIX`);
  }
  const options = new Map(new URLSearchParams(query));
  for (const name of options.keys()) {
    if (OPTIONS.includes(name)) continue;
    throw new SkeinError("DEPOT_SETTINGS", `an s3:// address has no option ${JSON.stringify(name)}`, {
      hint: `It takes ${OPTIONS.join(", ")}.`,
    });
  }
  return { bucket, prefix: folders.map((part) => `${part}/`).join(""), options };
}

function checked(value: string, form: RegExp, what: string): string {
  if (form.test(value)) return value;
  throw new SkeinError("DEPOT_SETTINGS", `${JSON.stringify(value)} is no ${what}`);
}

function isYes(word: string): boolean {
  if (word === "yes" || word === "no") return word === "yes";
  throw new SkeinError("DEPOT_SETTINGS", `anonymous is yes or no, not ${JSON.stringify(word)}`);
}

function checkedStyle(style: string, endpoint: URL | undefined): S3Settings["style"] {
  if (style === "path") return style;
  if (style !== "host") {
    throw new SkeinError("DEPOT_SETTINGS", `style is path or host, not ${JSON.stringify(style)}`);
  }
  if (endpoint === undefined || isIP(endpoint.hostname.replaceAll(/^\[|\]$/g, "")) === 0) return style;
  throw new SkeinError(
    "DEPOT_SETTINGS",
    `with style host the bucket goes before the endpoint's name, and ${endpoint.host} has none`,
    { hint: "Leave the style out, or say path; or give the endpoint by its name." },
  );
}

/** A name with dots has no valid certificate under the endpoint's; others than AWS mostly know only paths. */
function defaultStyle(bucket: string, endpoint: URL | undefined): S3Settings["style"] {
  return endpoint === undefined && !bucket.includes(".") ? "host" : "path";
}

function parseEndpoint(text: string): URL {
  const url = URL.parse(text.includes("://") ? text : `https://${text}`);
  const isPlain = url !== null && url.username === "" && url.password === "" && url.search === "";
  if (isPlain && ["http:", "https:"].includes(url.protocol)) return url;
  throw new SkeinError("DEPOT_SETTINGS", "the endpoint is no http(s) address");
}

/** What the shared configuration says under a profile. */
async function sharedConfig(env: Environment, profile: string): Promise<ReadonlyMap<string, string>> {
  const file = awsVariable(env, "AWS_CONFIG_FILE") ?? path.join(homeOf(env), ".aws", "config");
  const text = (await isReadable(file)) ? await readIfThere(file) : undefined;
  return sectionOf(
    text ?? "",
    profile === "default" ? ["default", "profile default"] : [`profile ${profile}`],
  );
}

function homeOf(env: Environment): string {
  try {
    return env["HOME"] || os.userInfo().homedir; // os.homedir gives an empty HOME back
  } catch {
    return "/"; // a user that this system does not know has none
  }
}

async function isReadable(file: string): Promise<boolean> {
  return await fs.access(file, fs.constants.R_OK).then(
    () => true,
    () => false,
  );
}

/** `name = value` lines of the sections so named; indented lines belong to sections within and are passed over. */
function sectionOf(text: string, names: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  let inside = false;
  for (const line of text.split(/\r?\n/)) {
    const section = /^\[\s*([^\]]+?)\s*\]/.exec(line)?.[1];
    if (section !== undefined) inside = names.includes(section.replaceAll(/\s+/g, " "));
    const pair = /^([\w.-]+)\s*=\s*(.*?)\s*(?:[#;].*)?$/.exec(line);
    if (inside && pair?.[1] !== undefined && pair[2] !== "") found.set(pair[1], pair[2] ?? "");
  }
  return found;
}
