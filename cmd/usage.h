// SPDX-License-Identifier: Apache-2.0
// What a user reads about the command line: help texts, and what is wrong with a line that does not
// parse.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "cmd/main.h"

namespace CLI {
class Option;
class ParseError;
}  // namespace CLI

namespace onnxtool {

// The metavariable of an option ("N", "MODEL..."), empty for a flag; and the words it takes, if
// only some are.
std::string metavar(const CLI::Option& o);
std::vector<std::string> choices(const CLI::Option& o);

// The whole of `onnxtool --help`, or of one command's.
std::string help_text(const CLI::App& app);

// The candidate nearest to `word` by edit distance, empty when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

// One line: what is wrong, what may have been meant, where help is.
std::string usage_message(const CLI::ParseError& e, const CLI::App& app,
                          const std::vector<CommandApp>& commands, int argc, char** argv);

}  // namespace onnxtool
