// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/nodes/node_case.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "libonnxtool/base/str.h"
#include "libonnxtool/infer/evaluate.h"
#include "libonnxtool/infer/infer.h"
#include "libonnxtool/ops/lift.h"
#include "libonnxtool/ops/schema.h"

namespace onnxtool::fuzz {
namespace {

constexpr int64_t kInts[] = {0,
                             1,
                             -1,
                             2,
                             3,
                             -2,
                             4,
                             5,
                             7,
                             8,
                             16,
                             100,
                             1LL << 40,
                             INT32_MAX,
                             INT32_MIN,
                             INT64_MAX,
                             INT64_MAX - 1,
                             INT64_MIN};
constexpr float kFloats[] = {0,         1,     -1,     0.5f,   2,     -0.0f, NAN,    INFINITY,
                             -INFINITY, 1e30f, -1e30f, 1e-30f, 100.f, 0.1f,  255.5f, 3e38f};
// clang-format off
constexpr const char* kStrings[] = {
    "", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "linear", "nearest", "cubic", "bilinear",
    "bicubic", "constant", "reflect", "edge", "wrap", "forward", "reverse", "bidirectional",
    "Relu", "Tanh", "Sigmoid", "none", "add", "mul", "max", "min", "sum", "mean", "zeros",
    "border", "reflection", "DCR", "CRD", "half_pixel", "asymmetric", "align_corners",
    "pytorch_half_pixel", "tf_crop_and_resize", "floor", "ceil", "round_prefer_floor", "stretch",
    "not_larger", "not_smaller", "RGB", "BGR", "Grayscale", "L1", "L2", "MAX", "TF", "IDF",
    "TFIDF", "tanh", "ij,jk->ik", "i,i->", "...ii->...i", "ij->ji", "LEFT", "RIGHT", "avg",
    "BRANCH_LEQ", "LEAF", "SUM", "AVERAGE", "SOFTMAX", "LOGISTIC", "PROBIT", "LINEAR", "RBF",
    "POLY", "[a-z]+", "(", "\xff\xfe", "LOWER", "UPPER", "a b",
};
// clang-format on

int64_t integer(Choices& c) {
  return c.one_in(2) ? static_cast<int64_t>(c.below(7)) - 2 : c.of(kInts);
}

Dims shape(Choices& c, const std::vector<Dims>& before) {
  if (!before.empty() && c.one_in(2)) {
    Dims d = before[c.below(before.size())];
    if (!d.empty() && c.one_in(3)) d.erase(d.begin() + static_cast<ptrdiff_t>(c.below(d.size())));
    if (!d.empty() && c.one_in(4)) d[c.below(d.size())] = static_cast<int64_t>(c.below(5));
    return d;
  }
  if (c.one_in(40)) return {0, INT64_MAX / 2, 8};
  Dims d(c.below(6));
  for (int64_t& n : d) n = c.one_in(10) ? 0 : 1 + static_cast<int64_t>(c.below(4));
  return d;
}

Tensor tensor(Choices& c, DType t, Dims dims) {
  if (t == DType::kUndefined) t = DType::kFloat;
  auto made = Tensor::allocate(t, dims);
  if (!made.ok()) return Tensor::scalar(1.0f);
  Tensor x = std::move(*made);
  if (t == DType::kString) {
    for (std::string& s : x.mut_strings()) s = c.of(kStrings);
    return x;
  }
  const size_t mode = c.below(4);
  if (x.bytes() == 0 || mode == 0) return x;
  if (mode == 1 || is_complex(t)) {
    for (size_t i = 0; i < x.bytes(); ++i)
      x.mutable_raw()[i] = std::byte(t == DType::kBool ? c.byte() & 1 : c.byte());
    return x;
  }
  std::vector<double> values(static_cast<size_t>(x.size()));
  std::vector<int64_t> whole(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = mode == 2 ? static_cast<double>(c.below(9)) - 4 : c.of(kFloats);
    whole[i] = mode == 2 ? static_cast<int64_t>(c.below(6)) - 1 : integer(c);
  }
  auto filled = is_float(t) ? Tensor::from_f64(t, dims, values) : Tensor::from_i64(t, dims, whole);
  return filled.ok() ? std::move(*filled) : x;
}

Attribute attribute(Choices& c, const AttrSpec& spec) {
  const auto many = [&](auto one) {
    std::vector<decltype(one())> list(c.below(6));
    for (auto& v : list) v = one();
    return list;
  };
  const AttrType kind = c.one_in(50) ? static_cast<AttrType>(1 + c.below(8)) : spec.kind;
  switch (kind) {
    case AttrType::kFloat: return Attribute::of(spec.name, c.of(kFloats));
    case AttrType::kString: return Attribute::of(spec.name, c.of(kStrings));
    case AttrType::kTensor:
      return Attribute::of(
          spec.name, tensor(c, static_cast<DType>(1 + c.below(kDTypeCount - 1)), shape(c, {})));
    case AttrType::kFloats: return Attribute::of(spec.name, many([&] { return c.of(kFloats); }));
    case AttrType::kInts: return Attribute::of(spec.name, many([&] { return integer(c); }));
    case AttrType::kStrings:
      return Attribute::of(spec.name, many([&] { return std::string(c.of(kStrings)); }));
    default: return Attribute::of(spec.name, integer(c));
  }
}

DType pick_type(Choices& c, const TypeSet& set) {
  std::vector<DType> types;
  for (int i = 1; i < kDTypeCount; ++i)
    if (tensor_allowed(set, static_cast<DType>(i))) types.push_back(static_cast<DType>(i));
  if (types.empty() || c.one_in(60)) return static_cast<DType>(1 + c.below(kDTypeCount - 1));
  return types[c.below(types.size())];
}

const std::vector<const Schema*>& candidates() {  // operators without bodies
  static const auto* list = [] {
    auto* l = new std::vector<const Schema*>();
    for (auto all : {official_schemas(), contrib_schemas()})
      for (const Schema& s : all) {
        const OpDef* def = find_op(Sym(s.domain), Sym(s.name));
        if (def && !(def->flags & kControlFlow)) l->push_back(&s);
      }
    return l;
  }();
  return *list;
}

bool agrees(const Type& t, const Datum& d) {
  if (!d.is_tensor() || !t.known()) return true;
  if (!t.is_tensor()) return t.kind == TypeKind::kOptional;
  if (t.dtype != DType::kUndefined && t.dtype != d.tensor.dtype()) return false;
  if (!t.shape) return true;
  if (t.shape->size() != d.tensor.dims().size()) return false;
  for (size_t i = 0; i < t.shape->size(); ++i)
    if ((*t.shape)[i].is_const() && (*t.shape)[i].value() != d.tensor.dims()[i]) return false;
  return true;
}

std::string text_of(const Model& m, NodeId n, const std::vector<Datum>& inputs) {
  const Node& node = m.node(n);
  std::string text = format("{}-{}(", escape(node.op.view()), node.version);
  for (size_t i = 0; i < inputs.size(); ++i)
    text += format("{}{}, ", inputs[i].has_value() ? type_of(inputs[i]).text() : "-",
                   node.has_input(i) && m.constant(node.input(i)) ? " constant" : "");
  text += ")";
  for (const Attribute& a : node.attrs) {
    text += " " + a.name + ":";
    if (a.type == AttrType::kInt) text += format(" {}", a.i());
    if (a.type == AttrType::kFloat) text += format(" {}", a.f());
    if (a.type == AttrType::kString) text += " " + quoted(a.s());
    if (a.type == AttrType::kInts)
      for (const int64_t i : a.ints()) text += format(" {}", i);
    if (a.type == AttrType::kFloats)
      for (const float f : a.floats()) text += format(" {}", f);
    if (a.type == AttrType::kStrings)
      for (const std::string& t : a.strings()) text += " " + quoted(t);
  }
  return text;
}

// A constant, an input of the graph, or an input of which no shape is known.
ValueId place(Choices& c, Model& m, GraphId g, const std::string& name, const Datum& d) {
  if (d.is_tensor() && c.one_in(3)) return m.add_initializer(g, name, d.tensor);
  const ValueId v = m.add_input(g, name, type_of(d));
  Value& value = m.value(v);
  if (c.one_in(6)) value.type.shape.reset();
  value.declared = value.type;
  return v;
}

void change_size(Choices& c, std::vector<Datum>& inputs) {
  std::vector<int64_t> sizes;
  for (const Datum& d : inputs)
    if (d.is_tensor()) sizes.insert(sizes.end(), d.tensor.dims().begin(), d.tensor.dims().end());
  if (sizes.empty()) return;
  const int64_t from = sizes[c.below(sizes.size())];
  const int64_t to = c.one_in(3) ? 0 : static_cast<int64_t>(c.below(6));
  const bool everywhere = c.one_in(2);
  for (Datum& d : inputs) {
    if (!d.is_tensor() || (!everywhere && c.one_in(2))) continue;
    Dims dims = d.tensor.dims();
    for (int64_t& n : dims)
      if (n == from) n = to;
    if (dims == d.tensor.dims()) continue;
    auto count = Tensor::allocate(DType::kInt8, dims);
    if (!count.ok() || count->size() > 4096) continue;
    d = tensor(c, d.tensor.dtype(), dims);
    if (!everywhere) return;
  }
}

void change_element(Choices& c, Tensor& x) {
  if (x.size() == 0 || x.is_string() || is_complex(x.dtype())) return;
  const size_t at = c.below(static_cast<size_t>(x.size()));
  if (is_float(x.dtype())) {
    std::vector<double> v = x.to_f64();
    v[at] = c.of(kFloats);
    if (auto r = Tensor::from_f64(x.dtype(), x.dims(), v); r.ok()) x = std::move(*r);
  } else {
    std::vector<int64_t> v = x.to_i64();
    v[at] = integer(c);
    if (auto r = Tensor::from_i64(x.dtype(), x.dims(), v); r.ok()) x = std::move(*r);
  }
}

void change_attribute(Choices& c, Model& m, NodeId n) {
  const std::vector<Attribute> attrs = m.node(n).attrs;
  const Schema* s = find_schema(m.node(n).domain.view(), m.node(n).op.view(), m.node(n).version);
  if (s != nullptr && !s->attrs.empty() && (attrs.empty() || c.one_in(2))) {
    const AttrSpec& spec = s->attrs[c.below(s->attrs.size())];
    if (spec.kind != AttrType::kGraph) m.set_attr(n, attribute(c, spec));
    return;
  }
  if (attrs.empty()) return;
  const Attribute& a = attrs[c.below(attrs.size())];
  if (a.type == AttrType::kGraph) return;
  if (c.one_in(4)) return m.remove_attr(n, a.name);
  const auto change = [&](auto list, auto one) {
    if (c.one_in(3)) list.push_back(one());
    if (!list.empty() && c.one_in(3)) list.pop_back();
    if (!list.empty()) list[c.below(list.size())] = one();
    m.set_attr(n, Attribute::of(a.name, std::move(list)));
  };
  switch (a.type) {
    case AttrType::kInt: return m.set_attr(n, Attribute::of(a.name, integer(c)));
    case AttrType::kFloat: return m.set_attr(n, Attribute::of(a.name, c.of(kFloats)));
    case AttrType::kString: return m.set_attr(n, Attribute::of(a.name, c.of(kStrings)));
    case AttrType::kInts: return change(a.ints(), [&] { return integer(c); });
    case AttrType::kFloats: return change(a.floats(), [&] { return c.of(kFloats); });
    case AttrType::kStrings:
      return change(a.strings(), [&] { return std::string(c.of(kStrings)); });
    default: return;
  }
}

void change_input(Choices& c, NodeCase& r) {
  if (r.inputs.empty()) return;
  Datum& d = r.inputs[c.below(r.inputs.size())];
  const size_t what = c.below(8);
  if (what == 0) {
    d = Datum();
  } else if (!d.is_tensor()) {
    if (what == 1) d = Datum(tensor(c, DType::kFloat, shape(c, {})));
  } else if (what == 1) {
    d = tensor(c, d.tensor.dtype(), shape(c, {d.tensor.dims()}));
  } else if (what == 2) {
    d = tensor(c, d.tensor.dtype(), d.tensor.dims());
  } else if (what == 3) {
    change_element(c, d.tensor);
  } else if (what == 4) {
    Dims dims = d.tensor.dims();
    if (c.one_in(2) || dims.empty())
      dims.insert(dims.begin() + static_cast<ptrdiff_t>(c.below(dims.size() + 1)), 1);
    else
      dims.erase(dims.begin() + static_cast<ptrdiff_t>(c.below(dims.size())));
    d = tensor(c, d.tensor.dtype(), dims);
  } else if (what == 5) {
    const DType from = d.tensor.dtype(), to = static_cast<DType>(1 + c.below(kDTypeCount - 1));
    const bool all = c.one_in(2);
    for (Datum& e : r.inputs)
      if (&e == &d || (all && e.is_tensor() && e.tensor.dtype() == from))
        e = converted(c, e.tensor, to);
  } else {
    change_size(c, r.inputs);
  }
}

}  // namespace

bool case_of(const Model& m, const std::vector<Datum>& inputs, NodeCase& r) {
  r = NodeCase{m.clone(), {}, {}, {}};
  const Graph& g = r.model.graph(r.model.main());
  for (const NodeId n : g.nodes) {
    if (r.model.node(n).removed()) continue;
    if (r.node.valid()) return false;
    r.node = n;
  }
  if (!r.node.valid()) return false;
  for (size_t i = 0; i < g.inputs.size(); ++i) r.outer[g.inputs[i].v] = inputs[i];
  const Node& n = r.model.node(r.node);
  for (size_t i = 0; i < n.num_inputs(); ++i) {
    r.inputs.emplace_back();
    if (!n.has_input(i)) continue;
    if (const Tensor* t = r.model.constant(n.input(i)))
      r.inputs.back() = t->to_aligned();
    else if (const auto it = r.outer.find(n.input(i).v); it != r.outer.end())
      r.inputs.back() = it->second;
  }
  return true;
}

Tensor converted(Choices& c, const Tensor& x, DType t) {
  if (x.is_string() || t == DType::kString || is_complex(t) || is_complex(x.dtype()))
    return tensor(c, t, x.dims());
  auto r = is_float(t) ? Tensor::from_f64(t, x.dims(), x.to_f64())
                       : Tensor::from_i64(t, x.dims(), x.to_i64());
  return r.ok() ? std::move(*r) : tensor(c, t, x.dims());
}

NodeCase random_case(Choices& c) {
  const Schema& s = *candidates()[c.below(candidates().size())];
  NodeCase r;
  Model& m = r.model;
  std::vector<Datum>& inputs = r.inputs;
  m.ir_version = 10;
  m.opset_imports.push_back({Sym(s.domain), s.since_version});
  const GraphId g = m.add_graph();
  std::map<std::string, DType> bound;
  std::vector<Dims> shapes;
  std::vector<ValueId> values;
  size_t count = static_cast<size_t>(s.min_inputs) + c.below(4);
  if (!c.one_in(20)) count = std::min(count, static_cast<size_t>(s.max_inputs));
  for (size_t i = 0; i < std::min<size_t>(count, 20); ++i) {
    const ParamSpec* p = s.input(i);
    const bool optional = p == nullptr || p->option != ParamOption::kSingle;
    if (c.one_in(optional ? 4 : 60)) {
      inputs.emplace_back();
      values.emplace_back();
      continue;
    }
    const TypeSet set = p ? s.types_of(*p) : TypeSet{};
    DType t = pick_type(c, set);
    if (p && p->homogeneous && !c.one_in(30)) t = bound.emplace(p->type, t).first->second;
    Datum d = tensor(c, t, shape(c, shapes));
    shapes.push_back(d.tensor.dims());
    if (p && set.tensor == 0 && set.seq != 0) d = Datum::sequence({d, d}, d.tensor.dtype());
    values.push_back(place(c, m, g, format("i{}", i), d));
    inputs.push_back(std::move(d));
  }
  std::vector<Attribute> attrs;
  for (const AttrSpec& a : s.attrs)
    if (a.required ? !c.one_in(20) : c.one_in(2)) attrs.push_back(attribute(c, a));
  size_t outputs = static_cast<size_t>(std::max(s.min_outputs, 1)) + c.below(3);
  if (!c.one_in(20)) outputs = std::min(outputs, static_cast<size_t>(s.max_outputs));
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min<size_t>(outputs, 20); ++i) names.push_back(format("o{}", i));
  r.node = m.add_node(g, Sym(s.name), values, names, std::move(attrs), Sym(s.domain));
  if (c.one_in(2))
    m.node(r.node).version = s.since_version;
  else
    (void)lift_node(m, r.node);
  inputs.resize(m.node(r.node).num_inputs());
  for (size_t i = 0; i < inputs.size(); ++i)  // those that lifting made or changed
    if (m.node(r.node).has_input(i))
      if (const Tensor* t = m.constant(m.node(r.node).input(i))) inputs[i] = *t;
  return r;
}

NodeCase changed_case(Choices& c, const NodeCase& seed) {
  NodeCase r{seed.model.clone(), seed.node, seed.inputs, seed.outer};
  Model& m = r.model;
  const size_t changes = 1 + c.below(3);
  for (size_t i = 0; i < changes; ++i) {
    if (c.one_in(3))
      change_attribute(c, m, r.node);
    else
      change_input(c, r);
  }
  for (size_t i = 0; i < r.inputs.size(); ++i)
    m.set_input(r.node, i,
                r.inputs[i].has_value() ? place(c, m, m.main(), m.unique_name("i"), r.inputs[i])
                                        : ValueId());
  // What the file says of the results may be wrong now.
  for (const ValueId v : m.node(r.node).outputs())
    if (v.valid()) m.value(v).type = m.value(v).declared = Type();
  for (size_t i = 0; i < m.num_values(); ++i) {
    Value& v = m.value(ValueId(static_cast<uint32_t>(i)));
    if (v.graph != m.main() && !v.is_constant()) v.type = v.declared = Type();
  }
  for (size_t g = 0; g < m.num_graphs(); ++g)
    for (Type& t : m.graph(GraphId(static_cast<uint32_t>(g))).output_types) t = Type();
  return r;
}

std::string check_case(Choices& c, NodeCase& r) {
  const Model& m = r.model;
  const Node& node = m.node(r.node);
  // A body that never runs says by its types what the results are.
  Model inferred;
  const bool bodies = std::any_of(node.attrs.begin(), node.attrs.end(),
                                  [](const Attribute& a) { return a.type == AttrType::kGraph; });
  if (bodies) {
    inferred = m.clone();
    if (!infer(inferred).ok()) return "";
  }
  EvalBudget budget;
  budget.bytes = 32 << 20;
  budget.steps = 1000;
  const auto got = evaluate_node(bodies ? inferred : m, node, r.inputs, budget, [&](ValueId v) {
    const auto it = r.outer.find(v.v);
    return it == r.outer.end() ? Datum() : it->second;
  });
  InferOptions options;
  options.evaluate = c.one_in(2);
  Inference inference(m, options);
  if (!inference.run().ok() || !got.ok()) return "";
  for (size_t i = 0; i < got->size(); ++i) {
    if (!node.has_output(i)) continue;
    const ValueId v = node.output(i);
    const Type& t = inference.type(v);
    if (!agrees(t, (*got)[i]))
      return format("{}: output {} is inferred as {}, evaluated as {}",
                    text_of(m, r.node, r.inputs), i, t.text(), type_of((*got)[i]).text());
    const PartialValue* p = inference.partial(v);
    if (p == nullptr || !(*got)[i].is_tensor()) continue;
    const Tensor& x = (*got)[i].tensor;
    bool same = static_cast<int64_t>(p->size()) == x.size();
    for (size_t k = 0; same && k < p->size(); ++k)
      same = !(*p)[k].is_const() || (*p)[k].value() == x.i64_at(static_cast<int64_t>(k));
    if (!same)
      return format("{}: contents of output {} are inferred otherwise than evaluated",
                    text_of(m, r.node, r.inputs), i);
  }
  return "";
}

}  // namespace onnxtool::fuzz
