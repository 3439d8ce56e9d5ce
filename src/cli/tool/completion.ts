import type { Command, Option } from "commander";
import type { Context, Result } from "../command/context.ts";
import { everyCommand } from "../command/every-command.ts";
import { usage } from "../command/grammar.ts";

interface Verb {
  readonly path: string;
  readonly words: readonly string[];
  /** What stands after its flags, where that is known: files, or one of these words. */
  readonly values: Readonly<Record<string, Value>>;
}

type Value = "files" | readonly string[];

interface Grammar {
  readonly verbs: readonly Verb[];
  /** Flags after which a value stands, wherever they stand. */
  readonly valued: readonly string[];
  /** `VERB FLAG`: where it does so after this verb and not after every other. */
  readonly valuedAfter: readonly string[];
}

/** What a value may be, by how the grammar calls it. */
const VALUES: Readonly<Record<string, Value>> = {
  column: ["commit"],
  layout: ["skein", "ftl"],
  file: "files",
  folder: "files",
  path: "files",
};

/** Completion of verbs and flags, made from the grammar itself. */
export function completion(context: Context, program: Command, shell: string): Result {
  const script = SHELLS[shell];
  if (script === undefined)
    throw usage(`there is no completion for ${shell}`, "skein completion bash|zsh|fish");
  const text = script(grammarOf(program));
  context.io.print(text);
  return { shell, script: text };
}

const SHELLS: Readonly<Record<string, (grammar: Grammar) => string>> = { bash, zsh, fish };

/** Every verb with what may follow it: verbs below it and flags. What help does not show is not offered either. */
export function grammarOf(program: Command): Grammar {
  const help = program.createHelp();
  const globals = program.options.flatMap(namesOf);
  const walk = (command: Command, path: string): Verb[] => {
    const below = help.visibleCommands(command);
    const names = below.flatMap((one) => [one.name(), ...one.aliases()]);
    const given = path === "completion" ? Object.keys(SHELLS) : [];
    const flags = [...command.options.flatMap(({ long }) => long ?? []), ...globals, "--help"];
    const words = [...new Set([...names, ...given, ...flags])];
    const walked = (one: Command): Verb[] =>
      [one.name(), ...one.aliases()].flatMap((name) => walk(one, `${path} ${name}`.trim()));
    return [{ path, words, values: valuesOf(command) }, ...below.flatMap(walked)];
  };
  const takesValue = (one: Option): boolean => one.required || one.optional;
  const options = [program, ...everyCommand(program)].flatMap((command) => command.options);
  const [valued, bare] = [true, false].map(
    (value) => new Set(options.filter((one) => takesValue(one) === value).flatMap(namesOf)),
  ) as [Set<string>, Set<string>];
  const after = program.commands.flatMap((command) =>
    command.options
      .filter(takesValue)
      .flatMap(namesOf)
      .filter((name) => bare.has(name))
      .flatMap((flag) => [command.name(), ...command.aliases()].map((verb) => `"${verb} ${flag}"`)),
  );
  return { verbs: walk(program, ""), valued: [...valued.difference(bare)], valuedAfter: after };
}

const namesOf = ({ short, long }: Option): string[] => [short ?? [], long ?? []].flat();

function valuesOf({ options }: Command): Verb["values"] {
  const known = options.flatMap((option) => {
    const value = VALUES[/[<[](.*)[>\]]/.exec(option.flags)?.[1] ?? ""];
    return value === undefined ? [] : namesOf(option).map((name) => [name, value] as const);
  });
  return Object.fromEntries(known);
}

/** Per verb and flag, as shells' patterns: those with a file after them, and those with one of these words. */
function placesOf(verbs: readonly Verb[]): {
  readonly files: readonly string[];
  readonly chosen: readonly (readonly [place: string, words: readonly string[]])[];
} {
  const places = verbs.flatMap(({ path, values }) =>
    Object.entries(values).map(([flag, value]) => [`"${path} ${flag}"`, value] as const),
  );
  return {
    files: places.flatMap(([place, value]) => (value === "files" ? [place] : [])),
    chosen: places.flatMap(([place, value]) => (value === "files" ? [] : [[place, value] as const])),
  };
}

const quoted = (verbs: readonly Verb[]): string => verbs.map(({ path }) => `"${path}"`).join("|");

function bash({ verbs, valued, valuedAfter }: Grammar): string {
  const { files, chosen } = placesOf(verbs);
  const cases = verbs.map(({ path, words }) => `    "${path}") words="${words.join(" ")}" ;;`).join("\n");
  const values = chosen.map(([place, words]) => `    ${place}) words="${words.join(" ")}" ;;`).join("\n");
  // "=" and ":" are words of their own to bash.
  return `# eval "$(skein completion bash)"
_skein() {
  local path="" word words="" flag="" typed="\${COMP_WORDS[COMP_CWORD]}"
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in =|:) flag="\${flag:-$word}"; continue ;; esac
    if [ -n "$flag" ]; then flag=""; continue; fi
    case "\${path%% *} $word" in ${valuedAfter.join("|")}) flag="$word"; continue ;; esac
    case "$word" in
      ${valued.join("|")}) flag="$word" ;;
      -*) ;;
      *) case "$path" in *" "*) ;; *) path="\${path:+$path }$word" ;; esac ;;
    esac
  done
  case "$typed" in =|:) flag="\${flag:-$typed}"; typed="" ;; esac
  case "$path" in ${quoted(verbs)}) ;; *) path="\${path%% *}" ;; esac
  COMPREPLY=()
  if [ "$flag" = : ]; then return; fi
  case "\${flag:+$path $flag}" in
    ${files.join("|")}) return ;;
${values}
    ?*) compopt +o default 2>/dev/null; return ;;
    *) case "$path" in
${cases}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$typed"))
}
complete -o default -F _skein skein`;
}

/** zsh has a function of its own: bash's would overwrite `path`, which is zsh's PATH. */
function zsh({ verbs, valued, valuedAfter }: Grammar): string {
  const { files, chosen } = placesOf(verbs);
  const cases = verbs.map(({ path, words }) => `    "${path}") found=(${words.join(" ")}) ;;`).join("\n");
  const values = chosen.map(([place, words]) => `    ${place}) found=(${words.join(" ")}) ;;`).join("\n");
  return `#compdef skein
# eval "$(skein completion zsh)"
_skein() {
  local verb="" word flag=""
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    if [[ -n $flag ]]; then flag=""; continue; fi
    case "\${verb%% *} $word" in ${valuedAfter.join("|")}) flag=$word; continue ;; esac
    case "$word" in
      ${valued.join("|")}) flag=$word ;;
      -*) ;;
      *) [[ $verb == *" "* ]] || verb="\${verb:+$verb }$word" ;;
    esac
  done
  if [[ $words[CURRENT] == --*=* ]]; then flag=\${words[CURRENT]%%=*}; compset -P '*='; fi
  case "$verb" in ${quoted(verbs)}) ;; *) verb="\${verb%% *}" ;; esac
  case "\${flag:+$verb $flag}" in
    ${files.join("|")}) _files; return ;;
${values}
    ?*) return 1 ;;
    *) case "$verb" in
${cases}
    esac ;;
  esac
  compadd -a found || _files
}
compdef _skein skein`;
}

function fish({ verbs, valued, valuedAfter }: Grammar): string {
  const pairs = verbs.filter(({ path }) => path.includes(" ")).map(({ path }) => `"${path}"`);
  const isValued = (path: string, word: string): boolean =>
    valued.includes(word) || valuedAfter.includes(`"${path} ${word}"`);
  const after = (value: Value | undefined): string => {
    if (value === undefined) return " -x";
    return value === "files" ? " -r -F" : ` -x -a "${value.join(" ")}"`;
  };
  const lines = verbs.flatMap(({ path, words, values }) =>
    words.map((word) =>
      word.startsWith("--")
        ? `complete -c skein -n "__skein_at ${path}" -l ${word.slice(2)}${isValued(path, word) ? after(values[word]) : ""}`
        : `complete -c skein -n "__skein_at ${path}" -f -a ${word}`,
    ),
  );
  return `# skein completion fish | source
function __skein_at
  set -l verb
  set -l value
  for word in (commandline -opc)[2..]
    if test -n "$value"
      set value
    else if contains -- $word ${valued.join(" ")}; or contains -- "$verb[1] $word" ${valuedAfter.join(" ")}
      set value yes
    else if test (count $verb) -lt 2; and not string match -q -- '-*' $word
      set -a verb $word
    end
  end
  contains -- "$verb" ${pairs.join(" ")}; or set verb $verb[1]
  test "$verb" = "$argv"
end
${lines.join("\n")}`;
}
