// SPDX-License-Identifier: Apache-2.0
// The one way to report errors: Result<T> and Status carry an Error with a code, a message and
// context lines, innermost first. No exceptions cross our own code.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace onnxtool {

// Each code is one exit status of the command line (exit_status()).
enum class Code : uint8_t {
  kNegative,     // 1: a negative answer: a check found errors, a budget was not met
  kUsage,        // 2: the command line is wrong
  kInvalid,      // 3: the model or data is invalid or unreadable
  kUnsupported,  // 4: valid, but not supported or over a limit
  kOutput,       // 5: output could not be written
  kInternal,     // 70: a bug in onnxtool
};

int exit_status(Code code);

struct Error {
  Code code = Code::kInternal;
  std::string message;               // what failed: lower case, no full stop
  std::vector<std::string> context;  // where, innermost first: "node 'conv1' (Conv)"

  // "context: ...: message" on one line, control characters escaped, cut at ~500 characters.
  std::string text() const;
};

Error make_error(Code code, std::string message);
inline Error invalid(std::string m) { return make_error(Code::kInvalid, std::move(m)); }
inline Error unsupported(std::string m) { return make_error(Code::kUnsupported, std::move(m)); }
inline Error usage_error(std::string m) { return make_error(Code::kUsage, std::move(m)); }
inline Error output_error(std::string m) { return make_error(Code::kOutput, std::move(m)); }
inline Error internal_error(std::string m) { return make_error(Code::kInternal, std::move(m)); }

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : v_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error) : v_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  bool ok() const { return v_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<0>(v_); }
  const T& value() const& { return std::get<0>(v_); }
  T&& value() && { return std::get<0>(std::move(v_)); }
  T& operator*() & { return std::get<0>(v_); }
  const T& operator*() const& { return std::get<0>(v_); }
  T&& operator*() && { return std::get<0>(std::move(v_)); }
  T* operator->() { return &std::get<0>(v_); }
  const T* operator->() const { return &std::get<0>(v_); }
  Error& error() & { return std::get<1>(v_); }
  const Error& error() const& { return std::get<1>(v_); }
  Error&& error() && { return std::get<1>(std::move(v_)); }
  Result context(std::string where) && {
    if (!ok()) error().context.push_back(std::move(where));
    return std::move(*this);
  }

 private:
  std::variant<T, Error> v_;
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : e_(std::make_unique<Error>(std::move(error))) {}  // NOLINT
  bool ok() const { return e_ == nullptr; }
  explicit operator bool() const { return ok(); }
  Error& error() & { return *e_; }
  const Error& error() const& { return *e_; }
  Error&& error() && { return std::move(*e_); }
  Status context(std::string where) && {
    if (!ok()) e_->context.push_back(std::move(where));
    return std::move(*this);
  }

 private:
  std::unique_ptr<Error> e_;
};

inline Status ok() { return {}; }

// A broken invariant of our own, never reachable from a file or a flag: prints BUG and exits 70.
[[noreturn]] void bug(const char* file, int line, const char* what);

}  // namespace onnxtool

#define ONNXTOOL_CAT2(a, b) a##b
#define ONNXTOOL_CAT(a, b) ONNXTOOL_CAT2(a, b)
// TRY(status or result expression): returns the error to the caller.
#define TRY(...)                                                \
  do {                                                          \
    if (auto try_r_ = (__VA_ARGS__); !try_r_.ok()) [[unlikely]] \
      return std::move(try_r_).error();                         \
  } while (0)
// TRY_ASSIGN(auto x, result expression)
#define TRY_ASSIGN(lhs, ...) TRY_ASSIGN_(ONNXTOOL_CAT(try_v_, __LINE__), lhs, __VA_ARGS__)
#define TRY_ASSIGN_(tmp, lhs, ...) \
  auto tmp = (__VA_ARGS__);        \
  if (!tmp.ok()) [[unlikely]]      \
    return std::move(tmp).error(); \
  lhs = std::move(tmp).value()
#define ONNXTOOL_CHECK(cond)                      \
  do {                                            \
    if (!(cond)) [[unlikely]]                     \
      ::onnxtool::bug(__FILE__, __LINE__, #cond); \
  } while (0)
