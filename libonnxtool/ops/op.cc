// SPDX-License-Identifier: Apache-2.0
// Lookup of operators and the parts of the contexts that need no driver.
#include "libonnxtool/ops/op.h"

#include <unordered_map>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/registry.h"

namespace onnxtool {
namespace {

struct Key {
  Sym domain, op;
  friend bool operator==(const Key&, const Key&) = default;
};
struct KeyHash {
  size_t operator()(const Key& k) const { return k.op.hash() * 31 + k.domain.hash(); }
};

using OpMap = std::unordered_map<Key, const OpDef*, KeyHash>;

OpMap& registered() {
  static auto* map = new OpMap();
  return *map;
}

Result<int64_t> checked_axis(const Node& node, std::string_view attr, int64_t def, int64_t rank) {
  const int64_t value = node.attr_int(attr, def);
  if (auto a = normalize_axis(value, rank)) return *a;
  return invalid(format("attribute '{}' is {}, outside of rank {}", attr, value, rank));
}

bool is_number(DType t) { return is_float(t) || is_integer(t) || t == DType::kBool; }

Error no_number(const Node& node, DType t) {
  return unsupported(format("{} of {} is not supported", node.op.view(), dtype_name(t)));
}

}  // namespace

const OpDef* find_op(Sym domain, Sym op) {
  static const auto* table = [] {
    auto* m = new OpMap();
    for (const OpTable* t : all_op_tables())
      for (size_t i = 0; i < t->count; ++i) {
        const bool fresh = m->emplace(Key{t->ops[i].domain, t->ops[i].name}, &t->ops[i]).second;
        ONNXTOOL_CHECK(fresh && "an operator is defined twice");
      }
    return m;
  }();
  auto it = table->find(Key{domain, op});
  if (it != table->end()) return it->second;
  const OpMap& later = registered();
  if (later.empty()) return nullptr;
  it = later.find(Key{domain, op});
  return it == later.end() ? nullptr : it->second;
}

Status register_op(const OpDef& def) {
  const Sym domain(def.domain), name(def.name);
  if (find_op(domain, name) != nullptr)
    return invalid(format("operator {} exists already",
                          quoted(def.domain[0] == '\0' ? std::string(def.name)
                                                       : format("{}.{}", def.domain, def.name))));
  registered().emplace(Key{domain, name}, &def);
  return ok();
}

const Shape* InferContext::shape(size_t i) const {
  const Type& t = input(i);
  return t.shape ? &*t.shape : nullptr;
}

std::optional<std::vector<int64_t>> InferContext::ints(size_t i) const {
  const PartialValue* p = has_input(i) ? partial(i) : nullptr;
  if (!p) return std::nullopt;
  std::vector<int64_t> r;
  r.reserve(p->size());
  for (const Dim& d : *p) {
    if (!d.is_const()) return std::nullopt;
    r.push_back(d.value());
  }
  return r;
}

Result<int64_t> InferContext::axis(std::string_view attr, int64_t def, int64_t rank) const {
  return checked_axis(node(), attr, def, rank);
}

Result<Tensor> EvalContext::allocate(DType t, Dims dims) const {
  const auto count = checked_product(dims);
  std::optional<int64_t> bytes;
  if (count) {
    bytes = t == DType::kString ? checked_mul(*count, int64_t{sizeof(std::string)})
                                : raw_bytes(t, *count);
  }
  if (!bytes) return unsupported(format("a result of shape {} is too large", to_string(dims)));
  TRY(host_.reserve(*bytes));
  return Tensor::allocate(t, std::move(dims));
}

Status EvalContext::set_f64(size_t i, DType t, Dims dims, std::span<const double> values) {
  if (!is_number(t)) return no_number(node_, t);
  TRY(host_.reserve(raw_bytes(t, static_cast<int64_t>(values.size())).value_or(0)));
  TRY_ASSIGN(Tensor r, Tensor::from_f64(t, std::move(dims), values));
  set(i, std::move(r));
  return ok();
}

Status EvalContext::set_i64(size_t i, DType t, Dims dims, std::span<const int64_t> values) {
  if (!is_number(t)) return no_number(node_, t);
  TRY(host_.reserve(raw_bytes(t, static_cast<int64_t>(values.size())).value_or(0)));
  TRY_ASSIGN(Tensor r, Tensor::from_i64(t, std::move(dims), values));
  set(i, std::move(r));
  return ok();
}

std::optional<std::vector<int64_t>> EvalContext::ints(size_t i, std::string_view attr) const {
  if (has(i)) {
    const Tensor& t = in(i);
    if (!is_integer(t.dtype())) return std::nullopt;
    return t.to_i64();
  }
  if (attr.empty()) return std::nullopt;
  if (const auto* v = node_.attr_ints(attr)) return *v;
  return std::nullopt;
}

Result<int64_t> EvalContext::axis(std::string_view attr, int64_t def, int64_t rank) const {
  return checked_axis(node_, attr, def, rank);
}

}  // namespace onnxtool
