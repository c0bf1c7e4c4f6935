// SPDX-License-Identifier: Apache-2.0
#include "cmd/usage.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

constexpr size_t kWidth = 96, kColumn = 30;

bool hidden(const CLI::Option& o) { return o.get_group().empty(); }

// Words from column kColumn on; `head` stands before them.
std::string entry(const std::string& head, const std::string& text) {
  std::string out = "  " + head;
  if (out.size() + 2 > kColumn) out += "\n" + std::string(kColumn, ' ');
  out.append(out.size() < kColumn ? kColumn - out.size() : 0, ' ');
  size_t column = kColumn;
  for (size_t i = 0; i < text.size();) {
    const size_t end = std::min(text.find(' ', i), text.size());
    if (column > kColumn && column + 1 + (end - i) > kWidth) {
      out += "\n" + std::string(kColumn, ' ');
      column = kColumn;
    }
    if (column > kColumn) ++column, out += ' ';
    out.append(text, i, end - i);
    column += end - i;
    i = end + 1;
  }
  return out + "\n";
}

std::string option_head(const CLI::Option& o) {
  std::string s;
  for (const std::string& n : o.get_snames()) s += (s.empty() ? "-" : ", -") + n;
  if (s.empty()) s = "   ";
  for (const std::string& n : o.get_lnames()) s += (s == "   " ? " --" : ", --") + n;
  const std::string v = metavar(o);
  if (v.empty()) return s;
  const bool optional = o.get_expected_min() == 0;  // a flag that may have a value
  return s + (optional ? "[=" + v + "]" : " " + v);
}

std::string options_text(const CLI::App& app, bool positional) {
  std::string s;
  for (const CLI::Option* o : app.get_options()) {
    if (hidden(*o) || o->get_positional() != positional) continue;
    std::string text = o->get_description();
    if (!o->get_default_str().empty() && o->get_type_size() != 0)
      text += " [" + o->get_default_str() + "]";
    if (o->get_required() && !positional) text += " (required)";
    s += entry(positional ? metavar(*o) : option_head(*o), text);
  }
  return s;
}

std::string command_help(const CLI::App& app) {
  std::string usage = "onnxtool " + app.get_name() + " [OPTIONS]";
  for (const CLI::Option* o : app.get_options()) {
    if (hidden(*o)) continue;
    if (o->get_positional())
      usage += o->get_required() ? " " + metavar(*o) : " [" + metavar(*o) + "]";
    else if (o->get_required())
      usage += " " + option_head(*o).substr(0, option_head(*o).find(',')) + " " + metavar(*o);
  }
  std::string s = app.get_description() + "\n\nUsage: " + usage + "\n";
  if (std::string p = options_text(app, true); !p.empty()) s += "\nArguments:\n" + p;
  s += "\nOptions:\n" + options_text(app, false);
  if (!app.get_footer().empty()) s += "\n" + app.get_footer();
  return s + "\nGlobal options such as --threads and --quiet: `onnxtool help`.\n";
}

std::string main_help(const CLI::App& app) {
  std::string s = app.get_description() + "\n\nUsage: onnxtool COMMAND [OPTIONS] MODEL...\n";
  std::vector<std::string> groups = {"Models", "Running"};
  const auto subs = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* c : subs)
    if (c->get_group() != "About" &&
        std::find(groups.begin(), groups.end(), c->get_group()) == groups.end())
      groups.push_back(c->get_group());
  groups.emplace_back("About");
  for (const std::string& g : groups) {
    std::string lines;
    for (const CLI::App* c : subs)
      if (c->get_group() == g) lines += entry(c->get_name(), c->get_description());
    if (!lines.empty()) s += "\n" + g + ":\n" + lines;
  }
  s += "\nGlobal options, before or after COMMAND:\n" + options_text(app, false);
  return s + "\n" + app.get_footer() + "\n";
}

std::vector<std::string> long_options(const CLI::App& app) {
  std::vector<std::string> r;
  for (const CLI::Option* o : app.get_options())
    if (!hidden(*o))
      for (const std::string& n : o->get_lnames()) r.push_back("--" + n);
  return r;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string n = nearest(word, candidates);
  return n.empty() ? "" : "; did you mean " + onnxtool::quoted(n) + "?";
}

// The first word that is no option and no option's value: what should have been a command.
std::string command_word(const CLI::App& app, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.size() < 2 || word[0] != '-') return word;
    const CLI::Option* o = app.get_option_no_throw(word);
    if (o != nullptr && o->get_type_size() != 0 && word.find('=') == std::string::npos) ++i;
  }
  return "";
}

const CLI::Option* find_option(const CLI::App& app, const CLI::App& command,
                               const std::string& name) {
  for (const CLI::App* a : {&command, &app})
    for (const CLI::Option* o : a->get_options())
      if (o->get_name() == name || o->get_name(false, true) == name || o->check_name(name))
        return o;
  return nullptr;
}

std::string shown_name(const CLI::Option* o, const std::string& name) {
  if (o == nullptr || !o->get_positional()) return name;
  const std::string v = metavar(*o);
  return v.substr(0, v.find("..."));
}

std::string listed(const std::vector<std::string>& words) {
  std::string s;
  for (size_t i = 0; i < words.size(); ++i)
    s += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return s;
}

// "0.000000 to 3600.000000" as a person writes it; a limit that no number reaches is none.
std::string range_text(const std::string& range) {
  const size_t at = range.find(" to ");
  if (at == std::string::npos) return "a number";
  const auto plain = [](std::string s) {
    if (s.find('.') == std::string::npos) return s;
    s.erase(s.find_last_not_of('0') + 1);
    if (s.back() == '.') s.pop_back();
    return s;
  };
  const std::string low = plain(range.substr(0, at)), high = plain(range.substr(at + 4));
  return high.size() > 15 ? "a number of at least " + low : "a number from " + low + " to " + high;
}

// CLI11's own words for an option, in ours: "NAME: what is wrong".
std::string option_message(const std::string& what, const CLI::App& app, const CLI::App& command) {
  if (what.rfind("Could not convert: ", 0) == 0) {
    const std::string rest = what.substr(19);
    const size_t at = rest.find(" = ");
    const std::string name = rest.substr(0, at);
    const CLI::Option* o = find_option(app, command, name);
    return shown_name(o, name) + " " +
           onnxtool::quoted(at == std::string::npos ? "" : rest.substr(at + 3)) +
           ": a number expected";
  }
  if (const size_t at = what.find(" is required"); at != std::string::npos) {
    const CLI::Option* o = find_option(app, command, what.substr(0, at));
    return shown_name(o, what.substr(0, at)) + " is missing";
  }
  const size_t colon = what.find(": ");
  if (colon == std::string::npos) return what;
  const std::string name = what.substr(0, colon), rest = what.substr(colon + 2);
  const CLI::Option* o = find_option(app, command, name);
  if (o == nullptr) return what;
  if (const size_t in = rest.rfind(" not in {"); in != std::string::npos) {
    const std::string value = rest.substr(0, in);
    return shown_name(o, name) + " " + onnxtool::quoted(value) + ": " + listed(choices(*o)) +
           " expected" + did_you_mean(value, choices(*o));
  }
  if (const size_t in = rest.find(" not in range "); in != std::string::npos)
    return shown_name(o, name) + " " +
           onnxtool::quoted(rest.rfind("Value ", 0) == 0 ? rest.substr(6, in - 6)
                                                         : rest.substr(0, in)) +
           ": " + range_text(rest.substr(in + 14)) + " expected";
  if (rest.find("At most") == 0) return shown_name(o, name) + " is given more than once";
  if (rest.find("required") != std::string::npos)
    return shown_name(o, name) + " needs a value: " + metavar(*o);
  return what;
}

}  // namespace

std::string metavar(const CLI::Option& o) {
  if (o.get_type_size() == 0 && o.get_expected_max() == 0) return "";
  const std::string type = o.get_type_name();
  std::string v = type.substr(0, type.find(':'));
  if (v.empty() && o.get_expected_min() == 0) return choices(o).empty() ? "" : "WHEN";
  if (v.rfind('{', 0) == 0) v = "WHICH";
  if (v.empty()) v = o.get_positional() ? o.get_name() : "X";
  if (o.get_positional()) {
    if (v == "TEXT") {
      v = o.get_name();
      std::transform(v.begin(), v.end(), v.begin(),
                     [](unsigned char c) { return std::toupper(c); });
    }
    if (o.get_expected_max() >= CLI::detail::expected_max_vector_size) v += "...";
  }
  return v;
}

std::vector<std::string> choices(const CLI::Option& o) {
  const std::string type = o.get_type_name();
  const size_t open = type.find('{'), close = type.rfind('}');
  std::vector<std::string> r;
  if (open == std::string::npos || close == std::string::npos || close < open) return r;
  for (size_t i = open + 1; i <= close;) {
    const size_t end = std::min(type.find(',', i), close);
    r.push_back(type.substr(i, end - i));
    i = end + 1;
  }
  return r;
}

std::string help_text(const CLI::App& app) {
  return app.get_parent() == nullptr ? main_help(app) : command_help(app);
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.size() > 64) return "";
  std::string best;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& c : candidates) {
    // Damerau's distance in its restricted form: insert, delete, change, swap neighbours.
    std::vector<std::vector<size_t>> d(word.size() + 1, std::vector<size_t>(c.size() + 1));
    for (size_t i = 0; i <= word.size(); ++i)
      for (size_t k = 0; k <= c.size(); ++k) {
        if (i == 0 || k == 0) {
          d[i][k] = i + k;
          continue;
        }
        d[i][k] = std::min({d[i - 1][k] + 1, d[i][k - 1] + 1,
                            d[i - 1][k - 1] + (word[i - 1] != c[k - 1] ? 1 : 0)});
        if (i > 1 && k > 1 && word[i - 1] == c[k - 2] && word[i - 2] == c[k - 1])
          d[i][k] = std::min(d[i][k], d[i - 2][k - 2] + 1);
      }
    const bool prefix = word.size() >= 3 && c.rfind(word, 0) == 0;
    const size_t distance = prefix ? 1 : d[word.size()][c.size()];
    if (distance < least) least = distance, best = c;
  }
  return best;
}

std::string usage_message(const CLI::ParseError& e, const CLI::App& app,
                          const std::vector<CommandApp>& commands, int argc, char** argv) {
  const CLI::App* command = nullptr;
  for (const CommandApp& c : commands)
    if (c.app->parsed()) command = c.app;
  if (command == nullptr) {
    const std::string word = command_word(app, argc, argv);
    std::vector<std::string> names;
    for (const CommandApp& c : commands) names.emplace_back(c.command->name);
    if (!word.empty() && std::find(names.begin(), names.end(), word) == names.end())
      return "there is no command " + onnxtool::quoted(word) + did_you_mean(word, names) +
             " (`onnxtool help` lists them)";
  }
  const std::string hint =
      command ? " (see `onnxtool help " + command->get_name() + "`)" : " (see `onnxtool help`)";
  if (dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr) {
    std::vector<std::string> extras = app.remaining(true);
    const auto dashed = std::find_if(extras.begin(), extras.end(), [](const std::string& s) {
      return s.size() > 1 && s[0] == '-';
    });
    if (dashed != extras.end()) {
      const std::string word = dashed->substr(0, dashed->find('='));
      std::vector<std::string> names = long_options(app);
      if (command) {
        const auto own = long_options(*command);
        names.insert(names.end(), own.begin(), own.end());
      }
      return "there is no option " + onnxtool::quoted(word) + did_you_mean(word, names) + hint;
    }
    if (!extras.empty()) return "one argument too many: " + onnxtool::quoted(extras.back()) + hint;
  }
  return option_message(e.what(), app, command ? *command : app) + hint;
}

}  // namespace onnxtool
