// SPDX-License-Identifier: Apache-2.0
// The driver: global options, the command tables, exit status. See onnxtool(1).
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

#include "cmd/libraries.h"
#include "cmd/main.h"
#include "cmd/output.h"
#include "cmd/usage.h"

namespace onnxtool {

void build_app(CLI::App& app, GlobalOptions& global, std::vector<CommandApp>& commands) {
  app.name("onnxtool");
  app.description("Inspect, check, convert, optimize, run, bench and validate ONNX models.");
  app.formatter_fn(
      [](const CLI::App* a, std::string, CLI::AppFormatMode) { return help_text(*a); });
  app.set_help_flag("-h,--help", "print this help and exit");
  app.require_subcommand(0, 1);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_version_flag("--version", "onnxtool " ONNXTOOL_VERSION, "print the version and exit");
  app.add_flag("-q,--quiet", global.quiet, "print errors only");
  app.add_flag("-v,--verbose", global.verbose, "print more; twice for much more");
  app.add_option("--threads", global.threads, "worker threads; 0 = every core this process may use")
      ->check(CLI::Range(0, 1024))
      ->type_name("N");
  app.add_option("--color", global.color, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("WHEN");
  app.add_option("--progress", global.progress, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("WHEN");
  add_library_options(app, global);
  app.fallthrough();
  app.footer(
      "`onnxtool help COMMAND` shows a command's options. MODEL is an .onnx file, or ONNX text\n"
      "(.txt, .onnxtxt) or JSON (.json); - is standard input or output.\n"
      "Exit status: 0 done, 1 negative answer, 2 wrong usage, 3 invalid input, 4 not supported,\n"
      "5 output not written, 70 a bug.");
  for (const Command* c : all_commands()) {
    CLI::App* sub = app.add_subcommand(c->name, c->summary);
    sub->group(c->group);
    sub->fallthrough();
    if (c->examples != nullptr && *c->examples != '\0')
      sub->footer(std::string("Examples:\n") + c->examples);
    commands.push_back({c, sub, c->setup(*sub, global)});
  }
}

namespace {

int finish(Status status, const GlobalOptions& global = {}) {
  Status flushed = flush_output();
  if (status.ok()) status = std::move(flushed);
  if (status.ok()) return 0;
  const Error& e = status.error();
  const bool pipe =
      e.code == Code::kOutput && e.message.find(std::strerror(EPIPE)) != std::string::npos;
  if (!e.message.empty() && !pipe) print_error(global, e.text());
  return exit_status(e.code);
}

int run(int argc, char** argv) {
  GlobalOptions global;
  CLI::App app;
  std::vector<CommandApp> commands;
  build_app(app, global, commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    for (CommandApp& c : commands)
      if (c.app->parsed()) {
        print(c.app->help());
        return finish(ok());
      }
    print(app.help());
    return finish(ok());
  } catch (const CLI::CallForVersion& e) {
    print(std::string(e.what()) + "\n");
    return finish(ok());
  } catch (const CLI::Success&) {
    return finish(ok());
  } catch (const CLI::ParseError& e) {
    print_error(global, usage_message(e, app, commands, argc, argv));
    return exit_status(Code::kUsage);
  }
  for (CommandApp& c : commands)
    if (c.app->parsed()) {
      Status opened = open_libraries(global);
      return finish(opened.ok() ? c.run() : std::move(opened), global);
    }
  std::fputs(app.help().c_str(), stderr);  // no command is no result
  return exit_status(Code::kUsage);
}

}  // namespace
}  // namespace onnxtool

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  // Tensors of a MiB and more are mappings of their own: memory that is let go of goes back at
  // once.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  // The one answer that scripts ask for often, without building the tables of all commands.
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    static constexpr char kVersion[] = "onnxtool " ONNXTOOL_VERSION "\n";
    onnxtool::print(kVersion);
    return onnxtool::finish(onnxtool::flush_output());
  }
  try {
    return onnxtool::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("onnxtool: error: out of memory\n", stderr);
    return 4;
  } catch (const std::length_error&) {
    std::fputs("onnxtool: error: out of memory\n", stderr);
    return 4;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "onnxtool: BUG: %s\n", e.what());
    return 70;
  }
}
