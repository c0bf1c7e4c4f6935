// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/op_libraries.h"

#include <dlfcn.h>
#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>

#include "libonnxtool/base/str.h"
#include "libonnxtool/op_library.h"
#include "libonnxtool/ops/registry.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool {
namespace {

constexpr size_t kMaxName = 200;
constexpr size_t kMaxOps = 10'000;
constexpr int64_t kMaxKnown = 4096;  // elements of a string tensor shown to a shape rule

struct LibraryOp {
  onnxtool_op op = {};
  std::string domain, name, library;
  OpDef def = {};
};

using Table = std::map<std::pair<std::string, std::string>, std::unique_ptr<LibraryOp>>;
Table& table() {
  static auto* t = new Table();
  return *t;
}

const LibraryOp& op_of(const Node& node) {
  const auto it = table().find({node.domain.str(), node.op.str()});
  ONNXTOOL_CHECK(it != table().end());
  return *it->second;
}

onnxtool_string view_of(const std::string& s) { return {s.data(), s.size()}; }

// What a call points to, and the call itself.
class Call {
 public:
  Call(const LibraryOp& l, const Node& node) : library_(l) {
    node_name_ = node.name;
    c = {};
    c.domain = l.domain.c_str();
    c.op = l.name.c_str();
    c.node = node_name_.c_str();
    c.num_inputs = node.num_inputs();
    c.num_outputs = node.num_outputs();
    c.user = l.op.user;
  }
  Status add_attributes(const Node& node);

  // The tensor as the library sees it; it must live as long as the call.
  onnxtool_tensor tensor(const Tensor& t) {
    onnxtool_tensor r = {};
    r.dtype = static_cast<int32_t>(t.dtype());
    r.rank = static_cast<int32_t>(t.rank());
    r.dims = t.dims().data();
    r.count = static_cast<size_t>(t.size());
    r.data = t.raw();
    r.bytes = t.bytes();
    if (t.is_string()) {
      const auto& s = lists_.emplace_back(strings(t.string_data()));
      r.data = s.data();
      r.bytes = s.size() * sizeof(onnxtool_string);
    }
    return r;
  }
  const onnxtool_tensor* kept(const Tensor& t) {
    return &tensors_.emplace_back(tensor(t.is_string() ? t : owned_.emplace_back(t.to_aligned())));
  }

  Status status(int32_t code) {
    c.message[sizeof(c.message) - 1] = '\0';
    if (code == ONNXTOOL_OK) return ok();
    std::string why = c.message;
    if (why.empty()) why = format("code {} without a reason", code);
    why += format(" (operator library {})", quoted(library_.library));
    return code == ONNXTOOL_INVALID ? Status(invalid(std::move(why)))
                                    : Status(unsupported(std::move(why)));
  }

  onnxtool_call c;

 private:
  static std::vector<onnxtool_string> strings(const std::vector<std::string>& list) {
    std::vector<onnxtool_string> r;
    r.reserve(list.size());
    for (const std::string& s : list) r.push_back(view_of(s));
    return r;
  }

  const LibraryOp& library_;
  std::string node_name_;
  std::vector<onnxtool_attribute> attributes_;
  std::deque<std::vector<onnxtool_string>> lists_;
  std::deque<onnxtool_tensor> tensors_;
  std::deque<Tensor> owned_;
};

Status Call::add_attributes(const Node& node) {
  for (const Attribute& a : node.attrs) {
    if (!a.ref.empty()) continue;
    onnxtool_attribute r = {};
    r.name = a.name.c_str();
    r.kind = static_cast<int32_t>(a.type);
    switch (a.type) {
      case AttrType::kFloat: r.f = a.f(); break;
      case AttrType::kInt: r.i = a.i(); break;
      case AttrType::kString: r.s = view_of(a.s()); break;
      case AttrType::kTensor: r.tensor = kept(a.t()); break;
      case AttrType::kFloats:
        r.count = a.floats().size();
        r.floats = a.floats().data();
        break;
      case AttrType::kInts:
        r.count = a.ints().size();
        r.ints = a.ints().data();
        break;
      case AttrType::kStrings: {
        const auto& list = lists_.emplace_back(strings(a.strings()));
        r.count = list.size();
        r.strings = list.data();
        break;
      }
      default:
        return unsupported(format("attribute {} is {}: operators of a library do not take that",
                                  quoted(a.name), attr_type_name(a.type)));
    }
    attributes_.push_back(r);
  }
  c.num_attributes = attributes_.size();
  c.attributes = attributes_.data();
  return ok();
}

Status check_counts(const LibraryOp& l, const Node& node) {
  const auto fits = [](size_t n, int32_t low, int32_t high) {
    return n >= static_cast<size_t>(low) && (high < 0 || n <= static_cast<size_t>(high));
  };
  const auto range = [](int32_t low, int32_t high) {
    return high < 0      ? format("{} or more", low)
           : low == high ? std::to_string(low)
                         : format("{} to {}", low, high);
  };
  if (!fits(node.num_inputs(), l.op.min_inputs, l.op.max_inputs))
    return invalid(format("{} inputs, the operator takes {}", node.num_inputs(),
                          range(l.op.min_inputs, l.op.max_inputs)));
  if (!fits(node.num_outputs(), l.op.min_outputs, l.op.max_outputs))
    return invalid(format("{} outputs, the operator has {}", node.num_outputs(),
                          range(l.op.min_outputs, l.op.max_outputs)));
  return ok();
}

// -------------------------------------------------------------------------------- shape rule
// Sizes as numbers: what is not constant is -2, -3, ... by its place in a list.
class Symbols {
 public:
  int64_t code(Dim d) {
    if (d.is_const()) return d.value() < 0 ? -1 : d.value();
    if (d.is_unknown()) return -1;
    auto it = std::find(list_.begin(), list_.end(), d);
    if (it == list_.end()) it = list_.insert(list_.end(), d);
    return -2 - (it - list_.begin());
  }
  // nullopt: no code that was given.
  std::optional<Dim> dim(int64_t code) const {
    if (code >= 0) return Dim(code);
    if (code == -1) return Dim();
    const uint64_t at = static_cast<uint64_t>(-(code + 2));
    return at < list_.size() ? std::optional(list_[at]) : std::nullopt;
  }

 private:
  std::vector<Dim> list_;
};

onnxtool_type type_for(const Type& t, Symbols& symbols) {
  onnxtool_type r = {};
  r.present = 1;
  r.rank = -1;
  r.dtype = static_cast<int32_t>(t.dtype);
  if (!t.shape || t.shape->size() > ONNXTOOL_MAX_RANK) return r;
  r.rank = static_cast<int32_t>(t.shape->size());
  for (size_t k = 0; k < t.shape->size(); ++k) r.dims[k] = symbols.code((*t.shape)[k]);
  return r;
}

Result<Type> type_from(const onnxtool_type& t, const Symbols& symbols, size_t output) {
  if (t.dtype != 0 && !dtype_known(t.dtype))
    return invalid(format("the shape rule gives output {} the element type {}", output, t.dtype));
  Type r = Type::tensor(static_cast<DType>(t.dtype));
  if (t.rank == -1) return r;
  if (t.rank < 0 || t.rank > ONNXTOOL_MAX_RANK)
    return invalid(format("the shape rule gives output {} rank {}", output, t.rank));
  r.shape.emplace();
  for (int32_t k = 0; k < t.rank; ++k) {
    const auto d = symbols.dim(t.dims[k]);
    if (!d)
      return invalid(
          format("the shape rule gives dim {} of output {} the size {}", k, output, t.dims[k]));
    r.shape->push_back(*d);
  }
  return r;
}

// Applies the shape rule.
Result<std::vector<Type>> rule(const LibraryOp& l, Call& call, const Node& node,
                               std::vector<onnxtool_type>& in, Symbols& symbols) {
  std::vector<onnxtool_type> out(node.num_outputs());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].present = node.has_output(i);
    out[i].rank = -1;
  }
  TRY(call.status(l.op.infer(&call.c, in.data(), out.data())));
  std::vector<Type> types(out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    if (!node.has_output(i)) continue;
    TRY_ASSIGN(types[i], type_from(out[i], symbols, i));
  }
  return types;
}

Status infer(InferContext& ctx) {
  const Node& node = ctx.node();
  const LibraryOp& l = op_of(node);
  TRY(check_counts(l, node));
  if (l.op.infer == nullptr) return ok();
  Call call(l, node);
  TRY(call.add_attributes(node));
  Symbols symbols;
  std::vector<onnxtool_type> in(node.num_inputs());
  for (size_t i = 0; i < in.size(); ++i) {
    if (!ctx.has_input(i)) continue;
    const Type& t = ctx.input(i);
    if (t.known() && !t.is_tensor())
      return unsupported(
          format("input {} is {}: operators of a library take tensors", i, t.text()));
    in[i] = type_for(t, symbols);
    const Tensor* value = ctx.constant(i);
    if (value != nullptr && (!value->is_string() || value->size() <= kMaxKnown) &&
        value->rank() <= ONNXTOOL_MAX_RANK)
      in[i].value = call.kept(*value);
  }
  TRY_ASSIGN(const auto types, rule(l, call, node, in, symbols));
  for (size_t i = 0; i < types.size(); ++i)
    if (node.has_output(i)) TRY(ctx.set(i, types[i]));
  return ok();
}

// -------------------------------------------------------------------------------- evaluation
struct Running {
  EvalContext& ctx;
  std::vector<Tensor> out;
  std::string failed;  // why a result could not be had
};

void* allocate(onnxtool_call* call, size_t output, int32_t dtype, int32_t rank,
               const int64_t* dims) {
  auto& r = *static_cast<Running*>(call->host);
  static char none;
  try {
    if (output >= r.out.size() || !r.ctx.wants(output) || r.out[output].defined()) return nullptr;
    if (!dtype_known(dtype) || rank < 0 || rank > ONNXTOOL_MAX_RANK ||
        (rank > 0 && dims == nullptr)) {
      r.failed = format("output {} has element type {} and rank {}", output, dtype, rank);
      return nullptr;
    }
    Dims shape(dims, dims + rank);
    if (std::any_of(shape.begin(), shape.end(), [](int64_t d) { return d < 0; })) {
      r.failed = format("output {} has shape {}", output, to_string(shape));
      return nullptr;
    }
    auto t = r.ctx.allocate(static_cast<DType>(dtype), std::move(shape));
    if (!t.ok()) {
      r.failed = t.error().message;
      return nullptr;
    }
    r.out[output] = std::move(*t);
    Tensor& made = r.out[output];
    return made.is_string() || made.bytes() == 0 ? &none : static_cast<void*>(made.mutable_raw());
  } catch (...) {
    return nullptr;
  }
}

int set_string(onnxtool_call* call, size_t output, size_t index, onnxtool_string value) {
  auto& r = *static_cast<Running*>(call->host);
  try {
    if (output >= r.out.size() || !r.out[output].is_string() ||
        index >= static_cast<size_t>(r.out[output].size()) ||
        (value.data == nullptr && value.size > 0))
      return -1;
    if (!r.ctx.host().reserve(static_cast<int64_t>(std::min<size_t>(value.size, INT64_MAX))).ok())
      return -1;
    r.out[output].mut_strings()[index].assign(value.size ? value.data : "", value.size);
    return 0;
  } catch (...) {
    return -1;
  }
}

// What the evaluation gives must be what the shape rule says of these inputs.
Status check_rule(const LibraryOp& l, Call& call, const Node& node,
                  const std::vector<onnxtool_tensor>& in, const std::vector<Tensor>& out) {
  if (l.op.infer == nullptr) return ok();
  Symbols symbols;
  std::vector<onnxtool_type> types(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i].dtype == 0) continue;
    types[i].present = 1;
    types[i].dtype = in[i].dtype;
    types[i].rank = in[i].rank;
    std::copy_n(in[i].dims, in[i].rank, types[i].dims);
    types[i].value = &in[i];
  }
  call.c.allocate = nullptr;
  call.c.set_string = nullptr;
  TRY_ASSIGN(const auto rules, rule(l, call, node, types, symbols));
  for (size_t i = 0; i < out.size(); ++i) {
    if (!node.has_output(i)) continue;
    const Type got = Type::tensor(out[i].dtype(), to_shape(out[i].dims()));
    if (!merge(rules[i], got))
      return invalid(format("output {} is {}, the shape rule of operator library {} says {}", i,
                            got.text(), quoted(l.library), rules[i].text()));
  }
  return ok();
}

Status eval(EvalContext& ctx) {
  const Node& node = ctx.node();
  const LibraryOp& l = op_of(node);
  TRY(check_counts(l, node));
  Call call(l, node);
  TRY(call.add_attributes(node));
  std::vector<onnxtool_tensor> in(ctx.num_inputs());
  for (size_t i = 0; i < in.size(); ++i) {
    if (!ctx.has(i)) continue;
    if (!ctx.datum(i).is_tensor())
      return unsupported(format("input {} is {}: operators of a library take tensors", i,
                                type_of(ctx.datum(i)).text()));
    if (ctx.in(i).rank() > ONNXTOOL_MAX_RANK)
      return unsupported(format("input {} has rank {}", i, ctx.in(i).rank()));
    in[i] = call.tensor(ctx.in(i));
  }
  Running running{ctx, std::vector<Tensor>(node.num_outputs()), {}};
  std::vector<uint8_t> wanted(node.num_outputs());
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = ctx.wants(i);
  call.c.num_inputs = in.size();
  call.c.allocate = allocate;
  call.c.set_string = set_string;
  call.c.host = &running;
  const int32_t code = l.op.eval(&call.c, in.data(), wanted.data());
  if (code != ONNXTOOL_OK && !running.failed.empty()) return unsupported(running.failed);
  TRY(call.status(code));
  for (size_t i = 0; i < wanted.size(); ++i) {
    Tensor& t = running.out[i];
    if (!wanted[i]) continue;
    if (!t.defined())
      return invalid(format("operator library {} gave no output {}", quoted(l.library), i));
    if (t.dtype() == DType::kBool)
      for (size_t k = 0; k < t.bytes(); ++k) {
        std::byte& b = t.mutable_raw()[k];
        b = std::byte(b != std::byte(0));
      }
  }
  TRY(check_rule(l, call, node, in, running.out));
  for (size_t i = 0; i < wanted.size(); ++i)
    if (wanted[i]) ctx.set(i, std::move(running.out[i]));
  return ok();
}

// ----------------------------------------------------------------------------------- loading
// A name of a table: nullopt where it is none.
std::optional<std::string> name_of(const char* s, bool may_be_empty) {
  if (s == nullptr) return std::nullopt;
  const size_t n = strnlen(s, kMaxName + 1);
  if (n > kMaxName || (n == 0 && !may_be_empty)) return std::nullopt;
  return std::string(s, n);
}

bool standard_domain(std::string_view domain) {
  return std::any_of(official_schemas().begin(), official_schemas().end(),
                     [&](const Schema& s) { return s.domain == canonical_domain(domain); });
}

Result<std::unique_ptr<LibraryOp>> read_op(const onnxtool_op& op, size_t index,
                                           const std::string& library) {
  auto l = std::make_unique<LibraryOp>();
  const auto domain = name_of(op.domain, true), name = name_of(op.name, false);
  if (!domain || !name) return invalid(format("operator {} has no domain or name", index));
  l->op = op;
  l->domain = *domain;
  l->name = *name;
  l->library = library;
  const std::string shown = quoted(l->domain + "." + l->name);
  if (standard_domain(*domain))
    return invalid(format("operator {}: the domain belongs to the standard", shown));
  if (op.min_inputs < 0 || (op.max_inputs != -1 && op.max_inputs < op.min_inputs) ||
      op.min_outputs < 0 || (op.max_outputs != -1 && op.max_outputs < op.min_outputs))
    return invalid(format("operator {}: numbers of operands are {} to {} and {} to {}", shown,
                          op.min_inputs, op.max_inputs, op.min_outputs, op.max_outputs));
  if ((op.flags & ~ONNXTOOL_OP_RANDOM) != 0)
    return unsupported(format("operator {}: flags {} are not known", shown, op.flags));
  if (op.infer == nullptr && op.eval == nullptr)
    return invalid(format("operator {} has neither a shape rule nor an evaluation", shown));
  l->def.name = l->name.c_str();
  l->def.domain = l->domain.c_str();
  l->def.infer = infer;
  l->def.eval = op.eval ? eval : nullptr;
  if ((op.flags & ONNXTOOL_OP_RANDOM) != 0) l->def.flags = kRandom;
  return l;
}

Status load(const std::string& path) {
  // Without a slash the system's folders would be searched.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = ::dlerror();
    return invalid(format("cannot be opened: {}", why ? why : "no reason is given"));
  }
  const auto get =
      reinterpret_cast<onnxtool_op_library_get_fn>(::dlsym(handle, "onnxtool_op_library_get"));
  if (get == nullptr)
    return invalid("it is no operator library: there is no function onnxtool_op_library_get");
  const onnxtool_op_library* lib = get(ONNXTOOL_OP_LIBRARY_ABI);
  if (lib == nullptr || lib->abi != ONNXTOOL_OP_LIBRARY_ABI)
    return unsupported(format("it was made for another version of the interface than {}",
                              ONNXTOOL_OP_LIBRARY_ABI));
  const auto name = name_of(lib->name, false);
  if (!name) return invalid("the library has no name");
  if (lib->num_ops == 0 || lib->num_ops > kMaxOps || lib->ops == nullptr)
    return invalid(format("its table has {} operators", lib->num_ops));
  std::vector<std::unique_ptr<LibraryOp>> ops;
  for (size_t i = 0; i < lib->num_ops; ++i) {
    TRY_ASSIGN(ops.emplace_back(), read_op(lib->ops[i], i, *name));
  }
  for (auto& l : ops) {
    TRY(register_op(l->def));
    auto key = std::pair(l->domain, l->name);
    table().emplace(std::move(key), std::move(l));
  }
  return ok();
}

}  // namespace

Status load_op_library(const std::string& path) {
  if (auto s = load(path); !s.ok())
    return std::move(s).context(format("operator library {}", quoted(path, 200)));
  return ok();
}

}  // namespace onnxtool
