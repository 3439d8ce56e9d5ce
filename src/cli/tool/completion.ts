import type { Command } from "commander";
import type { Context, Result } from "../command/context.ts";
import { everyCommand } from "../command/every-command.ts";
import { usage } from "../command/grammar.ts";

interface Verb {
  readonly path: string;
  readonly words: readonly string[];
}

interface Grammar {
  readonly verbs: readonly Verb[];
  /** Flags after which a value stands, wherever they stand. */
  readonly valued: readonly string[];
}

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
  const long = ({ options }: Command): string[] =>
    options.flatMap((option) => (typeof option.long === "string" ? [option.long] : []));
  const globals = long(program);
  const walk = (command: Command, path: string): Verb[] => {
    const below = help.visibleCommands(command);
    const names = below.flatMap((one) => [one.name(), ...one.aliases()]);
    const given = path === "completion" ? Object.keys(SHELLS) : [];
    const own = { path, words: [...new Set([...names, ...given, ...long(command), ...globals, "--help"])] };
    const walked = (one: Command): Verb[] =>
      [one.name(), ...one.aliases()].flatMap((name) => walk(one, `${path} ${name}`.trim()));
    return [own, ...below.flatMap(walked)];
  };
  const options = [program, ...everyCommand(program)].flatMap((command) => command.options);
  const takes = (value: boolean): Set<string> =>
    new Set(
      options.flatMap((one) =>
        typeof one.long === "string" && (one.required || one.optional) === value ? [one.long] : [],
      ),
    );
  return { verbs: walk(program, ""), valued: [...takes(true).difference(takes(false))] };
}

function bash({ verbs, valued }: Grammar): string {
  const cases = verbs.map(({ path, words }) => `    "${path}") words="${words.join(" ")}" ;;`).join("\n");
  // "=" is a word of its own to bash.
  return `# eval "$(skein completion bash)"
_skein() {
  local path="" word words value=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [ "$word" = = ]; then value=yes; continue; fi
    if [ -n "$value" ]; then value=""; continue; fi
    case "$word" in
      ${valued.join("|")}) value=yes ;;
      -*) ;;
      *) case "$path" in *" "*) ;; *) path="\${path:+$path }$word" ;; esac ;;
    esac
  done
  case "$path" in
${cases}
    *) path="\${path%% *}"; case "$path" in
${cases}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _skein skein`;
}

/** zsh has a function of its own: bash's would overwrite `path`, which is zsh's PATH. */
function zsh({ verbs, valued }: Grammar): string {
  const cases = verbs.map(({ path, words }) => `    "${path}") found=(${words.join(" ")}) ;;`).join("\n");
  return `#compdef skein
# eval "$(skein completion zsh)"
_skein() {
  local verb="" word value=""
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    if [[ -n $value ]]; then value=""; continue; fi
    case "$word" in
      ${valued.join("|")}) value=yes ;;
      -*) ;;
      *) [[ $verb == *" "* ]] || verb="\${verb:+$verb }$word" ;;
    esac
  done
  case "$verb" in
${cases}
    *) case "\${verb%% *}" in
${cases}
    esac ;;
  esac
  compadd -a found || _files
}
compdef _skein skein`;
}

function fish({ verbs, valued }: Grammar): string {
  const pairs = verbs.filter(({ path }) => path.includes(" ")).map(({ path }) => `"${path}"`);
  const lines = verbs.flatMap(({ path, words }) =>
    words.map((word) =>
      word.startsWith("--")
        ? `complete -c skein -n "__skein_at ${path}" -l ${word.slice(2)}${valued.includes(word) ? " -r" : ""}`
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
    else if contains -- $word ${valued.join(" ")}
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
