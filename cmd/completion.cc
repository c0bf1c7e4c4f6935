// SPDX-License-Identifier: Apache-2.0
// onnxtool completion SHELL: a completion script made from the command tables.
#include <CLI/CLI.hpp>
#include <memory>

#include "cmd/main.h"
#include "cmd/output.h"
#include "cmd/usage.h"

namespace onnxtool {
namespace {

struct Argument {
  std::vector<std::string> names;  // "-q", "--quiet"; none: positional
  std::string text, metavar;       // no metavar: a flag
  std::vector<std::string> choices;
  bool value = false, files = true, many = false;
};

struct Entry {
  std::string command, summary;
  std::vector<Argument> arguments;
};

std::vector<Argument> arguments_of(const CLI::App& app, const std::vector<std::string>& commands) {
  std::vector<Argument> r;
  for (const CLI::Option* o : app.get_options()) {
    Argument a;
    for (const std::string& n : o->get_snames()) a.names.push_back("-" + n);
    for (const std::string& n : o->get_lnames()) a.names.push_back("--" + n);
    a.text = o->get_description();
    a.metavar = metavar(*o);
    a.choices = a.metavar == "COMMAND" ? commands : choices(*o);
    a.value = !a.metavar.empty() && o->get_expected_min() > 0;
    a.many = o->get_expected_max() >= CLI::detail::expected_max_vector_size;
    // What is no path: numbers, and names with a form of their own.
    for (const char* v :
         {"N", "X", "SECONDS", "BYTES", "LEVEL", "NAME", "SYMBOL=N", "NAME,...", "NAME=N,N,..."})
      a.files &= a.metavar != v;
    r.push_back(std::move(a));
  }
  return r;
}

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  std::string s;
  for (const std::string& w : words) s += (s.empty() ? "" : between) + w;
  return s;
}

std::string option_names(const std::vector<Argument>& arguments) {
  std::string s;
  for (const Argument& a : arguments)
    for (const std::string& n : a.names) s += (s.empty() ? "" : " ") + n;
  return s;
}

// Single-quoted for a shell.
std::string shell_quoted(const std::string& s) {
  std::string out = "'";
  for (char c : s) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

constexpr char kBash[] = R"sh(_onnxtool() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" command= options= words= files=1 i
  if [[ "$cur" == "=" ]]; then cur=; fi
  if [[ "$prev" == "=" ]]; then prev="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${{COMP_WORDS[i]}}" in
      {global_values}) ((i++)); if [[ "${{COMP_WORDS[i]}}" == "=" ]]; then ((i++)); fi ;;
      -*) ;;
      *) command="${{COMP_WORDS[i]}}"; break ;;
    esac
  done
  case "$command" in
    "") words="{commands}"; files= ;;
{cases}  esac
  options="$options {globals}"
  case "$command $prev" in
{values}    *) if [[ "$cur" == -* ]]; then words="$options"; files=; fi ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur"; if [[ -n "$files" ]]; then compgen -f -- "$cur"; fi)
}}
complete -o filenames -F _onnxtool onnxtool
)sh";

std::string bash(const std::vector<Entry>& entries, const std::vector<Argument>& globals,
                 const std::vector<std::string>& commands) {
  std::string cases, values;
  std::vector<std::string> global_values;
  const auto value_case = [&](const std::string& command, const Argument& a) {
    if (!a.value || a.names.empty()) return;
    std::string patterns;
    for (const std::string& n : a.names)
      patterns += format("{}{}\" {}\"", patterns.empty() ? "" : "|", command, n);
    values += format("    {}) words=\"{}\"; files={} ;;\n", patterns, joined(a.choices),
                     a.choices.empty() && a.files ? "1" : "");
  };
  for (const Argument& a : globals) {
    value_case("*", a);
    if (a.value) global_values.insert(global_values.end(), a.names.begin(), a.names.end());
  }
  for (const Entry& e : entries) {
    std::string words;
    bool files = false;
    for (const Argument& a : e.arguments) {
      value_case(e.command, a);
      if (!a.names.empty()) continue;
      words += joined(a.choices);
      files |= a.choices.empty();
    }
    cases += format("    {}) options=\"{}\" words=\"{}\" files={} ;;\n", e.command,
                    option_names(e.arguments), words, files ? "1" : "");
  }
  return format(kBash, fmt::arg("global_values", joined(global_values, "|")),
                fmt::arg("commands", joined(commands)), fmt::arg("cases", cases),
                fmt::arg("values", values), fmt::arg("globals", option_names(globals)));
}

// One specification of zsh's _arguments.
std::string zsh_argument(const Argument& a) {
  const auto escaped = [](const std::string& s) {
    std::string t;
    for (char c : s) {
      if (c == ':' || c == '[' || c == ']' || c == '\\') t += '\\';
      t += c;
    }
    return t;
  };
  const std::string action = !a.choices.empty() ? "(" + joined(a.choices) + ")"
                             : a.files          ? "_files"
                                                : " ";
  if (a.names.empty())
    return shell_quoted((a.many ? "*:" : ":") + escaped(a.metavar) + ":" + action);
  std::string s;
  for (const std::string& n : a.names) {
    std::string spec = n.rfind("--", 0) == 0 && a.value ? n + "=" : n;
    if (a.names.size() > 1 && !a.many) spec = "(" + joined(a.names) + ")" + spec;
    spec = (a.many ? "*" : "") + spec + "[" + escaped(a.text) + "]";
    if (a.value) spec += ":" + escaped(a.metavar) + ":" + action;
    s += (s.empty() ? "" : " ") + shell_quoted(spec);
  }
  return s;
}

std::string zsh(const std::vector<Entry>& entries, const std::vector<Argument>& globals) {
  std::string names, cases, common;
  for (const Argument& a : globals) common += " \\\n    " + zsh_argument(a);
  for (const Entry& e : entries) {
    names += format("\n      {}", shell_quoted(e.command + ":" + e.summary));
    std::string spec;
    for (const Argument& a : e.arguments)
      if (a.names.empty() || a.names.back() != "--help") spec += " \\\n        " + zsh_argument(a);
    cases += format("      {}) _arguments -s $common{} ;;\n", e.command, spec);
  }
  return format(
      "#compdef onnxtool\n_onnxtool() {{\n  local context state state_descr line\n"
      "  typeset -A opt_args\n  local -a commands common\n  common=({})\n"
      "  _arguments -C $common '1:command:->command' '*::argument:->argument'\n"
      "  case $state in\n    command)\n      commands=({})\n      _describe command commands ;;\n"
      "    argument) case $line[1] in\n{}      esac ;;\n  esac\n}}\n"
      "if [ \"$funcstack[1]\" = _onnxtool ]; then _onnxtool \"$@\"; else compdef _onnxtool "
      "onnxtool; fi\n",
      common, names, cases);
}

std::string fish(const std::vector<Entry>& entries, const std::vector<Argument>& globals) {
  std::string s = "complete -c onnxtool -n __fish_use_subcommand -f\n";
  const auto add = [&](const std::string& when, const Argument& a) {
    std::string line = "complete -c onnxtool" + when;
    for (const std::string& n : a.names)
      line += n.rfind("--", 0) == 0 ? " -l " + n.substr(2) : " -s " + n.substr(1);
    if (!a.choices.empty())
      line += (a.value ? " -x -a " : " -f -a ") + shell_quoted(joined(a.choices));
    else if (a.names.empty())
      return;  // a path: what fish completes by itself
    else if (a.value)
      line += a.files ? " -r" : " -x";
    s += line + " -d " + shell_quoted(a.text) + "\n";
  };
  for (const Argument& a : globals) add("", a);
  for (const Entry& e : entries) {
    s += format("complete -c onnxtool -n __fish_use_subcommand -a {} -d {}\n", e.command,
                shell_quoted(e.summary));
    for (const Argument& a : e.arguments)
      if (a.names.empty() || a.names.back() != "--help")
        add(" -n '__fish_seen_subcommand_from " + e.command + "'", a);
  }
  return s;
}

std::function<Status()> setup(CLI::App& app, const GlobalOptions&) {
  auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->type_name("SHELL");
  return [shell]() -> Status {
    CLI::App root;
    GlobalOptions global;
    std::vector<CommandApp> commands;
    build_app(root, global, commands);
    std::vector<std::string> names;
    for (const CommandApp& c : commands) names.emplace_back(c.command->name);
    std::vector<Entry> entries;
    for (const CommandApp& c : commands)
      entries.push_back({c.command->name, c.command->summary, arguments_of(*c.app, names)});
    const auto globals = arguments_of(root, names);
    print(*shell == "bash"  ? bash(entries, globals, names)
          : *shell == "zsh" ? zsh(entries, globals)
                            : fish(entries, globals));
    return ok();
  };
}

}  // namespace

extern const Command cmd_completion;
const Command cmd_completion = {
    .name = "completion",
    .group = "About",
    .summary = "print a completion script for a shell",
    .examples =
        "  onnxtool completion bash > ~/.local/share/bash-completion/completions/onnxtool\n"
        "  onnxtool completion zsh > ~/.zfunc/_onnxtool      # with ~/.zfunc in fpath\n"
        "  onnxtool completion fish > ~/.config/fish/completions/onnxtool.fish\n",
    .setup = setup,
};

}  // namespace onnxtool
