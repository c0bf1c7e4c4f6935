// SPDX-License-Identifier: Apache-2.0
// onnxtool completion SHELL: a completion script made from the command tables.
#include <CLI/CLI.hpp>
#include <memory>

#include "cmd/main.h"
#include "cmd/output.h"

namespace onnxtool {
namespace {

struct Words {
  std::string command, summary;
  std::vector<std::pair<std::string, std::string>> options;  // "--threads", description
};

std::vector<std::pair<std::string, std::string>> options_of(const CLI::App& app) {
  std::vector<std::pair<std::string, std::string>> r;
  for (const CLI::Option* o : app.get_options()) {
    for (const std::string& n : o->get_lnames()) r.emplace_back("--" + n, o->get_description());
    for (const std::string& n : o->get_snames()) r.emplace_back("-" + n, o->get_description());
  }
  return r;
}

std::string joined(const std::vector<std::pair<std::string, std::string>>& options) {
  std::string s;
  for (const auto& [name, _] : options) s += (s.empty() ? "" : " ") + name;
  return s;
}

// Single-quoted for a shell.
std::string shell_quoted(const std::string& s) {
  std::string out = "'";
  for (char c : s) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string bash(const std::vector<Words>& commands, const std::string& global) {
  std::string names, cases;
  for (const Words& w : commands) {
    names += (names.empty() ? "" : " ") + w.command;
    cases += format("    {}) words=\"{}\" ;;\n", w.command, joined(w.options));
  }
  return format(
      "_onnxtool() {{\n  local cur=\"${{COMP_WORDS[COMP_CWORD]}}\" command= words= i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case \"${{COMP_WORDS[i]}}\" in -*) ;; *) "
      "command=\"${{COMP_WORDS[i]}}\"; break ;; esac\n  done\n"
      "  case \"$command\" in\n    \"\") words=\"{}\" ;;\n{}  esac\n"
      "  if [[ -z \"$command\" || \"$cur\" == -* ]]; then\n    COMPREPLY=($(compgen -W \"$words "
      "{}\" -- \"$cur\"))\n"
      "  else\n    COMPREPLY=($(compgen -f -- \"$cur\"))\n  fi\n}}\ncomplete -o filenames -F "
      "_onnxtool onnxtool\n",
      names, cases, global);
}

std::string zsh(const std::vector<Words>& commands,
                const std::vector<std::pair<std::string, std::string>>& global) {
  const auto entry = [](const std::string& name, const std::string& text) {
    std::string t = text;
    for (char& c : t)
      if (c == ':' || c == '[' || c == ']' || c == '\n') c = ' ';
    return shell_quoted(name + ":" + t);
  };
  std::string names, cases;
  for (const Words& w : commands) {
    names += " " + entry(w.command, w.summary);
    std::string opts;
    for (const auto& [n, d] : w.options) opts += " " + entry(n, d);
    for (const auto& [n, d] : global) opts += " " + entry(n, d);
    cases += format("    {}) options=({}) ;;\n", w.command, opts);
  }
  return format(
      "#compdef onnxtool\n_onnxtool() {{\n  local -a commands options\n  commands=({})\n"
      "  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
      "  case \"$words[2]\" in\n{}  esac\n"
      "  if [[ \"$words[CURRENT]\" == -* ]]; then _describe option options; else _files; "
      "fi\n}}\n_onnxtool \"$@\"\n",
      names, cases);
}

std::string fish(const std::vector<Words>& commands) {
  std::string s = "complete -c onnxtool -n __fish_use_subcommand -f\n";
  for (const Words& w : commands) {
    s += format("complete -c onnxtool -n __fish_use_subcommand -a {} -d {}\n", w.command,
                shell_quoted(w.summary));
    for (const auto& [n, d] : w.options) {
      const bool is_long = n.rfind("--", 0) == 0;
      s += format("complete -c onnxtool -n '__fish_seen_subcommand_from {}' -{} {} -d {}\n",
                  w.command, is_long ? "l" : "s", n.substr(is_long ? 2 : 1), shell_quoted(d));
    }
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
    std::vector<Words> words;
    for (const CommandApp& c : commands)
      words.push_back({c.command->name, c.command->summary, options_of(*c.app)});
    const auto globals = options_of(root);
    print(*shell == "bash"  ? bash(words, joined(globals))
          : *shell == "zsh" ? zsh(words, globals)
                            : fish(words));
    return ok();
  };
}

}  // namespace

extern const Command cmd_completion;
const Command cmd_completion = {
    .name = "completion",
    .group = "About",
    .summary = "print a completion script for a shell",
    .examples = "  onnxtool completion bash > /etc/bash_completion.d/onnxtool\n",
    .setup = setup,
};

}  // namespace onnxtool
