// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/infer/operands.h"

#include <cstring>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

// Equal apart from shapes; what is not known agrees with everything.
bool agree(const Type& a, const Type& b, int depth = 0) {
  if (!a.known() || !b.known() || depth > 16) return true;
  if (a.kind != b.kind) return false;
  if (a.dtype != b.dtype && a.dtype != DType::kUndefined && b.dtype != DType::kUndefined)
    return false;
  return !a.inner || !b.inner || agree(*a.inner, *b.inner, depth + 1);
}

struct Binding {
  const char* variable;
  const Type* type;
  std::string where;
};

class Checker {
 public:
  explicit Checker(const Schema& s) : schema_(s) {}

  void side(std::span<const OperandType> operands, bool input) {
    const char* word = input ? "input" : "output";
    const int least = input ? schema_.min_inputs : schema_.min_outputs;
    const int most = input ? schema_.max_inputs : schema_.max_outputs;
    size_t count = operands.size();
    while (count > 0 && !operands[count - 1].present)
      --count;  // absent ones at the end do not count
    if (count > static_cast<size_t>(most))
      add(OperandFault::kCount, format("has {} {}s, takes at most {}", count, word, most));
    if (input && operands.size() < static_cast<size_t>(least))  // those left out are listed too
      add(OperandFault::kCount, format("has {} {}s, needs {}{}", operands.size(), word,
                                       most == least ? "" : "at least ", least));
    for (size_t i = 0; i < (input ? operands.size() : count); ++i) {
      const ParamSpec* p = input ? schema_.input(i) : schema_.output(i);
      if (!p) break;
      const OperandType& o = operands[i];
      if (!o.present) {
        if (input && p->option == ParamOption::kSingle)
          add(OperandFault::kMissing,
              format("{} {} ({}) is left out but required", word, i, p->name));
        continue;
      }
      if (o.type && o.type->known()) type(*p, *o.type, format("{} {} ({})", word, i, p->name));
    }
  }

  std::vector<OperandFault> faults;

 private:
  void add(OperandFault::Kind k, std::string m) { faults.push_back({k, std::move(m)}); }

  void type(const ParamSpec& p, const Type& t, std::string where) {
    const TypeSet set = schema_.types_of(p);
    if (!type_allowed(set, t)) {
      std::string allowed;
      for (const std::string& s : type_strings(set)) {
        if (allowed.size() > 160) {
          allowed += ", ...";
          break;
        }
        allowed += (allowed.empty() ? "" : ", ") + s;
      }
      add(OperandFault::kType, format("{} is {}, allowed: {}", where, type_string(t), allowed));
      return;
    }
    if (!schema_.constraint(p.type)) return;
    if (p.option == ParamOption::kVariadic && !p.homogeneous) return;
    for (const Binding& b : bound_) {
      if (std::strcmp(b.variable, p.type) != 0) continue;
      if (!agree(*b.type, t))
        add(OperandFault::kMixed, format("{} is {}, but {} is {} and both have type {}", where,
                                         type_string(t), b.where, type_string(*b.type), p.type));
      return;
    }
    bound_.push_back({p.type, &t, std::move(where)});
  }

  const Schema& schema_;
  std::vector<Binding> bound_;
};

}  // namespace

std::vector<OperandFault> check_operands(const Schema& schema, std::span<const OperandType> inputs,
                                         std::span<const OperandType> outputs) {
  Checker c(schema);
  c.side(inputs, true);
  c.side(outputs, false);
  return std::move(c.faults);
}

}  // namespace onnxtool
