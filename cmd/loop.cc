// SPDX-License-Identifier: Apache-2.0
#include "cmd/loop.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>

#include "cmd/usage.h"
#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

using Names = std::vector<std::string>;

Names names_of(const Model& m, const std::vector<ValueId>& values) {
  Names r;
  for (ValueId v : values) r.push_back(m.value(v).name);
  return r;
}

std::string some(const Names& names) {
  std::string s;
  for (size_t i = 0; i < names.size() && i < 8; ++i)
    s += (i ? ", " : "") + onnxtool::quoted(names[i]);
  return s + (names.size() > 8 ? format(" and {} more", names.size() - 8) : "");
}

Error wrong(const std::string& spec, const std::string& what) {
  return usage_error(format("--loop {}: {}", escape(spec, 200), what));
}

Error no_such(const std::string& spec, const char* kind, const std::string& name,
              const Names& names) {
  const std::string near = nearest(name, names);
  return wrong(spec, format("the model has no {} {}; {}", kind, onnxtool::quoted(name),
                            near.empty() ? "it has " + some(names)
                                         : format("did you mean {}?", onnxtool::quoted(near))));
}

std::optional<size_t> index_of(const Names& names, std::string_view name) {
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) return std::nullopt;
  return static_cast<size_t>(it - names.begin());
}

// What follows the prefix: all of it, or from the first character on that is no letter or '_'.
std::string rest_of(const std::string& name, const std::string& prefix, bool from_number) {
  size_t at = prefix.size();
  while (from_number && at < name.size() &&
         (name[at] == '_' || std::isalpha(static_cast<unsigned char>(name[at]))))
    ++at;
  return name.substr(at);
}

// Inputs and outputs that start so, paired by what follows; empty where that leaves one alone.
std::vector<std::pair<size_t, size_t>> paired(const Names& inputs, const Names& outputs,
                                              const std::string& from, const std::string& to,
                                              bool from_number) {
  std::map<std::string, size_t> by_rest;
  for (size_t o = 0; o < outputs.size(); ++o)
    if (outputs[o].rfind(to, 0) == 0 &&
        !by_rest.emplace(rest_of(outputs[o], to, from_number), o).second)
      return {};
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].rfind(from, 0) != 0) continue;
    const auto hit = by_rest.find(rest_of(inputs[i], from, from_number));
    if (hit == by_rest.end()) return {};
    pairs.emplace_back(i, hit->second);
    by_rest.erase(hit);
  }
  return pairs;
}

bool number_of(std::string_view text, double& v) {
  const auto r = std::from_chars(text.data(), text.data() + text.size(), v);
  return r.ec == std::errc() && r.ptr == text.data() + text.size() && std::isfinite(v);
}

// One element more, or only the last one and more, in the last axis.
Result<Tensor> changed(const Tensor& t, bool append, double number) {
  const int bits = dtype_bits(t.dtype());
  if (t.dims().empty() || t.is_string() || bits % 8 != 0 || t.dims().back() == 0)
    return unsupported(
        format("{}{} has no last element", dtype_name(t.dtype()), to_string(t.dims())));
  const int64_t last = t.dims().back(), rows = t.size() / last;
  Dims dims = t.dims();
  dims.back() = append ? last + 1 : 1;
  TRY_ASSIGN(Tensor r, Tensor::allocate(t.dtype(), dims));
  const size_t element = static_cast<size_t>(bits / 8), row = element * static_cast<size_t>(last);
  std::byte* to = r.mutable_raw();
  for (int64_t i = 0; i < rows; ++i) {
    Tensor one;
    const int64_t at = (i + 1) * last - 1;
    if (is_integer(t.dtype())) {
      const int64_t v = static_cast<int64_t>(number) + (append ? 0 : t.i64_at(at));
      TRY_ASSIGN(one, Tensor::from_i64(t.dtype(), {1}, std::span(&v, 1)));
    } else {
      const double v = number + (append ? 0 : t.f64_at(at));
      TRY_ASSIGN(one, Tensor::from_f64(t.dtype(), {1}, std::span(&v, 1)));
    }
    if (append) std::memcpy(to, t.raw() + static_cast<size_t>(i) * row, row), to += row;
    std::memcpy(to, one.raw(), element);
    to += element;
  }
  return r;
}

}  // namespace

Result<std::vector<Loop::Edge>> Loop::parse(const Model& model, const std::string& spec) {
  const Graph& g = model.graph(model.main());
  const Names inputs = names_of(model, g.inputs), outputs = names_of(model, g.outputs);
  // Names may hold '=' themselves: the first one behind an input's name counts.
  size_t eq = spec.find('=');
  for (size_t at = eq; at != std::string::npos; at = spec.find('=', at + 1))
    if (index_of(inputs, spec.substr(0, at))) eq = at;
  if (eq == std::string::npos || eq == 0 || eq + 1 == spec.size())
    return wrong(spec, "INPUT=OUTPUT expected");
  const std::string from = spec.substr(0, eq), to = spec.substr(eq + 1);
  const auto input = index_of(inputs, from);
  Edge e;
  const size_t open = to.find('(');
  static constexpr std::pair<std::string_view, Kind> kMakers[] = {
      {"argmax", kArgmax}, {"sample", kSample}, {"append", kAppend}, {"add", kAdd}};
  const auto* maker = std::find_if(std::begin(kMakers), std::end(kMakers), [&](const auto& k) {
    return open != std::string::npos && to.back() == ')' && to.substr(0, open) == k.first;
  });
  if (maker != std::end(kMakers) && !index_of(outputs, to)) {
    if (!input) return no_such(spec, "input", from, inputs);
    e.kind = maker->second;
    e.input = *input;
    std::string inside = to.substr(open + 1, to.size() - open - 2);
    if (e.kind == kAppend || e.kind == kAdd) {
      if (!number_of(inside, e.number))
        return wrong(spec, format("a number expected, not {}", onnxtool::quoted(inside)));
    } else {
      e.number = 1;
      if (const size_t comma = inside.rfind(',');
          e.kind == kSample && comma != inside.npos && !index_of(outputs, inside)) {
        if (!number_of(std::string_view(inside).substr(comma + 1), e.number) || e.number <= 0)
          return wrong(spec, "the temperature is a number above 0");
        inside.resize(comma);
      }
      const auto output = index_of(outputs, inside);
      if (!output) return no_such(spec, "output", inside, outputs);
      e.output = *output;
    }
    return std::vector<Edge>{e};
  }
  const auto output = index_of(outputs, to);
  if (input && output) {
    e.input = *input;
    e.output = *output;
    return std::vector<Edge>{e};
  }
  auto pairs = paired(inputs, outputs, from, to, false);
  if (pairs.empty()) pairs = paired(inputs, outputs, from, to, true);
  if (!pairs.empty()) {
    std::vector<Edge> all;
    for (const auto& [i, o] : pairs) {
      e.input = i;
      e.output = o;
      all.push_back(e);
    }
    return all;
  }
  const auto starts = [](const Names& names, const std::string& prefix) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& n) { return n.rfind(prefix, 0) == 0; });
  };
  if (!starts(inputs, from)) return no_such(spec, "input", from, inputs);
  if (!starts(outputs, to)) return no_such(spec, "output", to, outputs);
  return wrong(spec, format("names that start so do not pair up: inputs {}, outputs {}",
                            some(inputs), some(outputs)));
}

Status Loop::check(const Model& model, const Edge& e, const std::string& spec) {
  const Graph& g = model.graph(model.main());
  const ValueId in = g.inputs[e.input];
  const Type& want = model.value(in).declared;
  if (!want.is_tensor() && want.known() && e.kind != kValue)
    return wrong(spec, format("input {} is no tensor", model.describe(in)));
  if (e.kind == kAppend || e.kind == kAdd) return ok();
  const ValueId out = g.outputs[e.output];
  const Type& given =
      model.value(out).type.known() ? model.value(out).type : model.value(out).declared;
  if (!want.known() || !given.known()) return ok();
  const auto mismatch = [&](const std::string& what) {
    return wrong(spec, format("output {} does not fit input {}: {}", model.describe(out),
                              model.describe(in), what));
  };
  if (e.kind != kValue) {
    if (!given.is_tensor() || given.dtype == DType::kString) return mismatch("no scores");
    if (want.dtype != DType::kUndefined && !is_integer(want.dtype))
      return mismatch("an index is an integer");
    return ok();
  }
  if (want.kind != given.kind) return mismatch("another kind of value");
  if (!want.is_tensor()) return ok();
  if (want.dtype != DType::kUndefined && given.dtype != DType::kUndefined &&
      want.dtype != given.dtype)
    return mismatch("another element type");
  if (!want.shape || !given.shape) return ok();
  if (want.shape->size() != given.shape->size()) return mismatch("another rank");
  for (size_t i = 0; i < want.shape->size(); ++i)
    if ((*want.shape)[i].is_const() && (*given.shape)[i].is_const() &&
        (*want.shape)[i].value() != (*given.shape)[i].value())
      return mismatch(format("dim {} differs", i));
  return ok();
}

Result<Loop> Loop::make(const Model& model, const std::vector<std::string>& specs, uint64_t seed) {
  Loop loop;
  loop.random_.seed(seed);
  const Graph& g = model.graph(model.main());
  for (const std::string& spec : specs) {
    TRY_ASSIGN(std::vector<Edge> edges, parse(model, spec));
    for (Edge& e : edges) {
      TRY(check(model, e, spec));
      const Value& v = model.value(g.inputs[e.input]);
      e.name = v.name;
      e.dtype = v.declared.dtype == DType::kUndefined ? DType::kInt64 : v.declared.dtype;
      if (v.declared.shape) e.rank = v.declared.shape->size();
      for (const Edge& other : loop.edges_)
        if (other.input == e.input)
          return wrong(spec, format("input {} gets two values", onnxtool::quoted(e.name)));
      loop.edges_.push_back(std::move(e));
    }
  }
  return loop;
}

// Scores [batch..., positions, n] or [batch, n]: one index for each of the batch.
Result<Tensor> Loop::choose(Edge& e, const Tensor& scores) {
  const auto bad = [&](const char* what) {
    return invalid(format("cannot choose {} from {}{}: {}", onnxtool::quoted(e.name),
                          dtype_name(scores.dtype()), to_string(scores.dims()), what));
  };
  if (scores.is_string() || scores.dims().empty() || scores.size() == 0) return bad("no scores");
  const int64_t n = scores.dims().back();
  Dims dims(scores.dims().begin(), scores.dims().end() - 1);
  int64_t positions = 1;
  if (dims.size() > 1) positions = std::exchange(dims.back(), 1);
  if (e.rank == dims.size() + 1) dims.push_back(1);
  if (e.rank + 1 == dims.size() && dims.back() == 1) dims.pop_back();
  const int64_t batch = scores.size() / n / positions;
  std::vector<int64_t> chosen;
  std::vector<double> row(static_cast<size_t>(n));
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t from = ((b + 1) * positions - 1) * n;
    for (int64_t i = 0; i < n; ++i) row[static_cast<size_t>(i)] = scores.f64_at(from + i);
    auto best = std::max_element(row.begin(), row.end());
    if (std::any_of(row.begin(), row.end(), [](double v) { return std::isnan(v); }))
      return bad("a score is NaN");
    if (e.kind == kSample) {
      const double most = *best;
      double sum = 0;
      for (double& v : row) sum += v = std::exp((v - most) / e.number);
      double left = sum * static_cast<double>(random_() >> 11) * 0x1p-53;
      for (best = row.begin(); best + 1 != row.end() && left >= *best; ++best) left -= *best;
    }
    chosen.push_back(best - row.begin());
  }
  if (e.batch != 0 && e.batch != batch) return bad("another batch than before");
  e.batch = batch;
  e.made.insert(e.made.end(), chosen.begin(), chosen.end());
  return Tensor::from_i64(e.dtype, std::move(dims), chosen);
}

Status Loop::advance(std::vector<Datum>& feeds, std::vector<Datum>& outputs) {
  std::vector<Datum> next = feeds;
  for (Edge& e : edges_) {
    const auto where = [&] { return "--loop, input " + onnxtool::quoted(e.name); };
    Tensor made;
    if (e.kind == kAppend || e.kind == kAdd) {
      if (!feeds[e.input].is_tensor()) return invalid(where() + ": it has no value yet");
      TRY_ASSIGN(made,
                 changed(feeds[e.input].tensor, e.kind == kAppend, e.number).context(where()));
    } else if (e.kind != kValue) {
      if (!outputs[e.output].is_tensor()) return invalid(where() + ": no scores");
      TRY_ASSIGN(made, choose(e, outputs[e.output].tensor));
    } else {
      next[e.input] = outputs[e.output];
      continue;
    }
    next[e.input] = Datum(std::move(made));
  }
  // The bytes now belong to the inputs: the next run writes to others.
  for (const Edge& e : edges_)
    if (e.kind == kValue) outputs[e.output] = Datum();
  feeds = std::move(next);
  return ok();
}

Result<std::vector<std::pair<std::string, Tensor>>> Loop::finish(
    const std::vector<Datum>& outputs) {
  std::vector<std::pair<std::string, Tensor>> all;
  for (Edge& e : edges_) {
    if (e.kind != kArgmax && e.kind != kSample) continue;
    if (!outputs[e.output].is_tensor()) return invalid("--loop: no scores");
    TRY(choose(e, outputs[e.output].tensor));
    const int64_t steps = static_cast<int64_t>(e.made.size()) / e.batch;
    std::vector<int64_t> by_batch;
    for (int64_t b = 0; b < e.batch; ++b)
      for (int64_t s = 0; s < steps; ++s)
        by_batch.push_back(e.made[static_cast<size_t>(s * e.batch + b)]);
    TRY_ASSIGN(Tensor t, Tensor::from_i64(e.dtype, {e.batch, steps}, by_batch));
    all.emplace_back(e.name, std::move(t));
  }
  return all;
}

}  // namespace onnxtool
