// SPDX-License-Identifier: Apache-2.0
// Type strings of operator schemas ("optional(seq(tensor(float)))") and sets of them.
#include <array>

#include "libonnxtool/base/dtype.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {
namespace {

constexpr int kMaxDepth = 8;  // no schema nests deeper than 3

// The four families that have a mask.
struct Form {
  std::string_view prefix;
  std::string_view suffix;
  uint32_t TypeSet::*mask;
};
constexpr std::array<Form, 4> kForms = {{
    {"tensor(", ")", &TypeSet::tensor},
    {"seq(tensor(", "))", &TypeSet::seq},
    {"optional(tensor(", "))", &TypeSet::optional},
    {"optional(seq(tensor(", ")))", &TypeSet::optional_seq},
}};

uint32_t bit(DType t) { return 1U << static_cast<unsigned>(t); }

// An element type is allowed if it is in the mask, an unknown one if any is.
bool in_mask(uint32_t mask, DType t) {
  return t == DType::kUndefined ? mask != 0 : (mask & bit(t)) != 0;
}

// Calls f with each comma separated part of `list`, commas inside parentheses not counting, until
// f returns true; true if it did.
template <typename F>
bool any_part(const char* list, F f) {
  if (list == nullptr) return false;
  std::string_view rest(list);
  while (!rest.empty()) {
    size_t end = 0;
    for (int depth = 0; end < rest.size() && (depth > 0 || rest[end] != ','); ++end)
      depth += rest[end] == '(' ? 1 : rest[end] == ')' ? -1 : 0;
    if (f(rest.substr(0, end))) return true;
    rest.remove_prefix(end < rest.size() ? end + 1 : end);
  }
  return false;
}

// The mask and element type that a type string stands for; nullptr if it is of no masked family.
uint32_t TypeSet::*family_of(std::string_view text, DType* elem) {
  for (const Form& form : kForms) {
    if (!text.starts_with(form.prefix) || !text.ends_with(form.suffix)) continue;
    text.remove_prefix(form.prefix.size());
    text.remove_suffix(form.suffix.size());
    auto t = dtype_from_name(text);
    if (!t) return nullptr;
    *elem = *t;
    return form.mask;
  }
  return nullptr;
}

bool unknown_inside(const Type& type) {
  const Type* t = &type;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    if (t->kind == TypeKind::kUnknown) return true;
    if (t->kind == TypeKind::kTensor || t->kind == TypeKind::kSparseTensor)
      return t->dtype == DType::kUndefined;
    if (t->kind == TypeKind::kOpaque) return false;
    if (t->kind == TypeKind::kMap && t->dtype == DType::kUndefined) return true;
    if (t->inner == nullptr) return true;
    t = t->inner.get();
  }
  return false;
}

// "map(" and the like: what the part of `other` must begin with for a type not wholly known.
std::string known_prefix(const Type& type) {
  std::string s = type_string(type);
  return s.substr(0, s.find('?'));
}

}  // namespace

TypeSet parse_type_set(const char* text) {
  TypeSet set{};
  DType elem = DType::kUndefined;
  if (auto mask = family_of(text, &elem))
    set.*mask = bit(elem);
  else
    set.other = text;
  return set;
}

bool type_allowed(const TypeSet& set, std::string_view type_string) {
  std::string packed;  // without blanks, as in the tables
  for (char c : type_string)
    if (c != ' ') packed += c;
  DType elem = DType::kUndefined;
  if (auto mask = family_of(packed, &elem)) return (set.*mask & bit(elem)) != 0;
  return any_part(set.other, [&](std::string_view part) { return part == packed; });
}

bool type_allowed(const TypeSet& set, const Type& type) {
  if (type.kind == TypeKind::kUnknown) return true;
  if (type.kind == TypeKind::kTensor) return in_mask(set.tensor, type.dtype);
  if (!unknown_inside(type)) return type_allowed(set, type_string(type));
  std::string prefix = known_prefix(type);
  auto fits = [&](std::string_view s) { return s.starts_with(prefix); };
  for (const Form& form : kForms)
    if (set.*form.mask != 0 && fits(form.prefix)) return true;
  return any_part(set.other, fits);
}

std::string type_string(const Type& type) {
  std::string text;
  std::string close;
  const Type* t = &type;
  bool in_map = false;  // a map's value is written without "tensor("
  for (int depth = 0; depth < kMaxDepth && t != nullptr; ++depth, t = t->inner.get()) {
    std::string elem(t->dtype == DType::kUndefined ? "?" : dtype_name(t->dtype));
    switch (t->kind) {
      case TypeKind::kTensor: return text + (in_map ? elem : "tensor(" + elem + ")") + close;
      case TypeKind::kSparseTensor: return text + "sparse_tensor(" + elem + ")" + close;
      case TypeKind::kOpaque: return text + "opaque" + close;
      case TypeKind::kUnknown: return text + "?" + close;
      case TypeKind::kSequence: text += "seq("; break;
      case TypeKind::kOptional: text += "optional("; break;
      case TypeKind::kMap: text += "map(" + elem + ","; break;
    }
    in_map = t->kind == TypeKind::kMap;
    close += ')';
  }
  return text + "?" + close;
}

std::vector<std::string> type_strings(const TypeSet& set) {
  std::vector<std::string> out;
  for (const Form& form : kForms)
    for (int i = 1; i < kDTypeCount; ++i)
      if (auto t = static_cast<DType>(i); (set.*form.mask & bit(t)) != 0)
        out.push_back(std::string(form.prefix) + std::string(dtype_name(t)) +
                      std::string(form.suffix));
  any_part(set.other, [&](std::string_view part) {
    out.emplace_back(part);
    return false;
  });
  return out;
}

}  // namespace onnxtool
