import type { Command } from "commander";
import type { Context, Result } from "../command/context.ts";
import { usage } from "../command/grammar.ts";

interface Verb {
  readonly path: string;
  readonly words: readonly string[];
}

/** Completion of verbs and flags, made from the grammar itself. */
export function completion(context: Context, program: Command, shell: string): Result {
  const script = SHELLS[shell];
  if (script === undefined)
    throw usage(`there is no completion for ${shell}`, "skein completion bash|zsh|fish");
  context.io.print(script(verbs(program)));
  return { shell };
}

const SHELLS: Readonly<Record<string, (verbs: readonly Verb[]) => string>> = { bash, zsh, fish };

/** Every verb with what may follow it: verbs below it and flags. */
export function verbs(program: Command): Verb[] {
  const globals = program.options.flatMap(({ long }) => (typeof long === "string" ? [long] : []));
  const walk = (command: Command, path: string): Verb[] => {
    const names = command.commands.flatMap((one) => [one.name(), ...one.aliases()]);
    const flags = command.options.flatMap(({ long }) => (typeof long === "string" ? [long] : []));
    const own = { path, words: [...new Set([...names, ...flags, ...globals, "--help"])] };
    return [own, ...command.commands.flatMap((one) => walk(one, `${path} ${one.name()}`.trim()))];
  };
  return walk(program, "");
}

function bash(all: readonly Verb[]): string {
  const cases = all.map(({ path, words }) => `    "${path}") words="${words.join(" ")}" ;;`).join("\n");
  return `# eval "$(skein completion bash)"
_skein() {
  local path="" word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) case "$path" in *" "*) ;; *) path="\${path:+$path }$word" ;; esac ;; esac
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
function zsh(all: readonly Verb[]): string {
  const cases = all.map(({ path, words }) => `    "${path}") found=(${words.join(" ")}) ;;`).join("\n");
  return `#compdef skein
# eval "$(skein completion zsh)"
_skein() {
  local verb="" word
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    [[ $word == -* || $verb == *" "* ]] || verb="\${verb:+$verb }$word"
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

function fish(all: readonly Verb[]): string {
  const lines = all.flatMap(({ path, words }) => {
    const below = words.filter((word) => !word.startsWith("-"));
    const given = path.split(" ").map((word) => `__fish_seen_subcommand_from ${word}`);
    const seen = path === "" ? "__fish_use_subcommand" : given.join("; and ");
    const none =
      below.length === 0 || path === "" ? "" : `; and not __fish_seen_subcommand_from ${below.join(" ")}`;
    return words.map((word) =>
      word.startsWith("--")
        ? `complete -c skein -n "${seen}" -l ${word.slice(2)}`
        : `complete -c skein -n "${seen}${none}" -f -a ${word}`,
    );
  });
  return `# skein completion fish | source\n${lines.join("\n")}`;
}
