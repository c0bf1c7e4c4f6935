// SPDX-License-Identifier: Apache-2.0
// Scan (versions 8, with a batch axis, and 9) and SequenceMap: a body run for each element.
#include <algorithm>

#include "libonnxtool/base/checked.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/ops/body_util.h"
#include "libonnxtool/ops/move_util.h"
#include "libonnxtool/ops/op.h"
#include "libonnxtool/ops/shape_util.h"

namespace onnxtool {
namespace {

// Version 8 has sequence_lens as its first input, a batch axis 0 and scans axis 1 of each input.
struct Form {
  bool batched = false;
  GraphId body;
  size_t first = 0;  // first state input
  size_t states = 0, scans = 0, results = 0;
  std::vector<int64_t> in_axes, out_axes;
  std::vector<bool> in_reversed, out_reversed;
};

Result<std::vector<int64_t>> flags(const Node& node, const char* attr, size_t n, bool binary) {
  const auto* v = node.attr_ints(attr);
  if (v == nullptr) return std::vector<int64_t>(n, 0);
  if (v->size() != n)
    return invalid(format("attribute '{}' has {} values, {} expected", attr, v->size(), n));
  for (int64_t x : *v)
    if (binary && x != 0 && x != 1)
      return invalid(format("attribute '{}' has the value {}", attr, x));
  return *v;
}

std::vector<bool> truths(const std::vector<int64_t>& v) { return {v.begin(), v.end()}; }

Result<Form> form_of(const Model& m, const Node& node) {
  Form f;
  f.batched = node.version < 9;
  f.first = f.batched ? 1 : 0;
  const int64_t scans = node.attr_int("num_scan_inputs", 0);
  const size_t inputs = node.num_inputs() - std::min(f.first, node.num_inputs());
  if (scans < 1 || static_cast<uint64_t>(scans) > inputs)
    return invalid(
        format("attribute 'num_scan_inputs' is {}, the node has {} inputs to scan", scans, inputs));
  f.scans = static_cast<size_t>(scans);
  f.states = inputs - f.scans;
  TRY_ASSIGN(f.body, body_of(m, node, inputs, f.states));
  f.results = m.graph(f.body).outputs.size() - f.states;
  if (node.num_outputs() > f.states + f.results)
    return invalid(format("the body gives {} results, the node has {} outputs",
                          f.states + f.results, node.num_outputs()));
  TRY_ASSIGN(const auto in_dir,
             flags(node, f.batched ? "directions" : "scan_input_directions", f.scans, true));
  f.in_reversed = truths(in_dir);
  f.out_reversed.assign(f.results, false);
  if (f.batched) {
    f.in_axes.assign(f.scans, 0);  // of one sample
    f.out_axes.assign(f.results, 0);
    return f;
  }
  TRY_ASSIGN(const auto out_dir, flags(node, "scan_output_directions", f.results, true));
  f.out_reversed = truths(out_dir);
  TRY_ASSIGN(f.in_axes, flags(node, "scan_input_axes", f.scans, false));
  TRY_ASSIGN(f.out_axes, flags(node, "scan_output_axes", f.results, false));
  return f;
}

// Takes an axis out of a known shape and unifies its size with `size`.
Status take_axis(const InferContext& ctx, Type& t, int64_t axis, Dim& size, const char* what) {
  if (!t.shape) return ok();
  const auto a = normalize_axis(axis, static_cast<int64_t>(t.shape->size()));
  if (!a) return ctx.error(format("input {} has no {} axis {}", t.text(), what, axis));
  const auto d = unify((*t.shape)[static_cast<size_t>(*a)], size);
  if (!d)
    return ctx.error(format("inputs differ in the size of the {} axis: {} and {}", what,
                            (*t.shape)[static_cast<size_t>(*a)].text(), size.text()));
  size = *d;
  t.shape->erase(t.shape->begin() + *a);
  return ok();
}

Status infer_scan(InferContext& ctx) {
  TRY_ASSIGN(const Form f, form_of(ctx.model(), ctx.node()));
  Dim batch, length;
  std::vector<Type> states, elements;
  for (size_t i = 0; i < f.states + f.scans; ++i) {
    Type t = ctx.input(f.first + i);
    if (f.batched) TRY(take_axis(ctx, t, 0, batch, "batch"));
    if (i >= f.states) TRY(take_axis(ctx, t, f.in_axes[i - f.states], length, "scan"));
    (i < f.states ? states : elements).push_back(std::move(t));
  }
  TRY_ASSIGN(const std::vector<Type> types, infer_carried(ctx, f.body, {}, states, elements, 0));
  for (size_t i = 0; i < ctx.num_outputs(); ++i) {
    Type t = i < f.states ? states[i] : types[i];
    if (i >= f.states) {
      const int64_t axis = f.out_axes[i - f.states];
      if (t.shape && !normalize_axis(axis, static_cast<int64_t>(t.shape->size()) + 1))
        return ctx.error(format("output axis {} is out of range for results {}", axis, t.text()));
      t = stacked_type(t, or_fresh(ctx, length, i, 0), axis);
    }
    if (f.batched) t = stacked_type(t, or_fresh(ctx, batch, i, 0), 0);
    if (t.known()) TRY(ctx.set(i, std::move(t)));
  }
  return ok();
}

// Row `at` of an axis, without the axis.
Result<Tensor> row(const EvalContext& ctx, const Tensor& t, int64_t axis, int64_t at) {
  TRY_ASSIGN(const Tensor r, sliced(ctx, t, axis, at, 1));
  Dims dims = r.dims();
  dims.erase(dims.begin() + axis);
  return r.reshaped(std::move(dims));
}

// Runs the body over `steps` elements of the scanned tensors; gives final states and stacks.
Status scan(EvalContext& ctx, const Form& f, std::vector<Tensor>& states,
            std::span<const Tensor> scanned, int64_t steps, int64_t length,
            std::vector<Tensor>& results) {
  std::vector<int64_t> axes;
  for (size_t k = 0; k < f.scans; ++k) {
    const auto a = normalize_axis(f.in_axes[k], scanned[k].rank());
    if (!a || scanned[k].dims()[static_cast<size_t>(*a)] != length)
      return ctx.error(format("input {} has not the length {} along axis {}",
                              to_string(scanned[k].dims()), length, f.in_axes[k]));
    axes.push_back(*a);
  }
  std::vector<std::vector<Tensor>> stacks(f.results);
  for (int64_t step = 0; step < steps; ++step) {
    TRY(ctx.host().step());
    std::vector<Datum> inputs(states.begin(), states.end());
    for (size_t k = 0; k < f.scans; ++k) {
      TRY_ASSIGN(Tensor t,
                 row(ctx, scanned[k], axes[k], f.in_reversed[k] ? steps - 1 - step : step));
      inputs.emplace_back(std::move(t));
    }
    TRY_ASSIGN(std::vector<Datum> out, ctx.host().run_graph(f.body, std::move(inputs)));
    if (out.size() != f.states + f.results) return ctx.error("the body gave too few results");
    for (size_t i = 0; i < out.size(); ++i) {
      if (!out[i].is_tensor()) return ctx.error(format("result {} of the body is no tensor", i));
      if (i < f.states)
        states[i] = std::move(out[i].tensor);
      else
        stacks[i - f.states].push_back(std::move(out[i].tensor));
    }
  }
  for (size_t k = 0; k < f.results; ++k) {
    if (f.out_reversed[k]) std::reverse(stacks[k].begin(), stacks[k].end());
    // Steps that a shorter sequence does not have give zeros.
    while (!stacks[k].empty() && static_cast<int64_t>(stacks[k].size()) < length) {
      TRY_ASSIGN(Tensor zero, ctx.allocate(stacks[k][0].dtype(), stacks[k][0].dims()));
      stacks[k].push_back(std::move(zero));
    }
    const Type type = output_type(ctx.model(), f.body, f.states + k);
    TRY_ASSIGN(Tensor t, stacked(ctx, stacks[k], f.out_axes[k], type));
    results.push_back(std::move(t));
  }
  return ok();
}

// Results of sequences without steps: zeros in the shape of the others.
Status fill_empty_sequences(const EvalContext& ctx, std::span<const int64_t> lens, int64_t length,
                            std::vector<Tensor>& results) {
  size_t like = 0;
  while (like < lens.size() && lens[like] == 0) ++like;
  for (size_t b = 0; b < results.size(); ++b) {
    if (lens[b] > 0) continue;
    Dims dims = results[like < lens.size() ? like : b].dims();
    dims[0] = length;
    TRY_ASSIGN(results[b], ctx.allocate(results[b].dtype(), std::move(dims)));
  }
  return ok();
}

Status eval_scan(EvalContext& ctx) {
  TRY_ASSIGN(const Form f, form_of(ctx.model(), ctx.node()));
  std::vector<Tensor> states, scanned;
  for (size_t i = 0; i < f.states + f.scans; ++i) {
    if (!ctx.has(f.first + i) || !ctx.datum(f.first + i).is_tensor())
      return ctx.error(format("input {} is no tensor", f.first + i));
    (i < f.states ? states : scanned).push_back(ctx.in(f.first + i));
  }
  const int64_t scan_axis = f.batched ? 1 : f.in_axes[0];
  const auto axis = normalize_axis(scan_axis, scanned[0].rank());
  if (!axis)
    return ctx.error(format("axis {} is out of range for rank {}", scan_axis, scanned[0].rank()));
  const int64_t length = scanned[0].dims()[static_cast<size_t>(*axis)];
  std::vector<Tensor> results;
  if (!f.batched) {
    TRY(scan(ctx, f, states, scanned, length, length, results));
  } else {
    const int64_t batch = scanned[0].dims()[0];
    for (const auto* list : {&states, &scanned})
      for (const Tensor& t : *list)
        if (t.rank() < 1 || t.dims()[0] != batch)
          return ctx.error(
              format("input {} has not the batch size {}", to_string(t.dims()), batch));
    std::vector<int64_t> lens(static_cast<size_t>(batch), length);
    if (ctx.has(0)) lens = ctx.in(0).to_i64();
    if (static_cast<int64_t>(lens.size()) != batch)
      return ctx.error("sequence_lens do not fit the batch");
    std::vector<std::vector<Tensor>> all_states(f.states), all_results(f.results);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t steps = lens[static_cast<size_t>(b)];
      if (steps < 0 || steps > length)
        return ctx.error(format("sequence length {} is out of range", steps));
      std::vector<Tensor> s, x, r;
      for (size_t i = 0; i < f.states + f.scans; ++i) {
        TRY_ASSIGN(Tensor t, row(ctx, i < f.states ? states[i] : scanned[i - f.states], 0, b));
        (i < f.states ? s : x).push_back(std::move(t));
      }
      TRY(scan(ctx, f, s, x, steps, length, r));
      for (size_t i = 0; i < f.states; ++i) all_states[i].push_back(std::move(s[i]));
      for (size_t k = 0; k < f.results; ++k) all_results[k].push_back(std::move(r[k]));
    }
    for (size_t i = 0; i < f.states && batch > 0; ++i) {
      TRY_ASSIGN(states[i], stacked(ctx, all_states[i], 0, {}));
    }
    for (size_t k = 0; k < f.results; ++k) {
      TRY(fill_empty_sequences(ctx, lens, length, all_results[k]));
      const Type row = output_type(ctx.model(), f.body, f.states + k);
      TRY_ASSIGN(Tensor t, stacked(ctx, all_results[k], 0, stacked_type(row, length, 0)));
      results.push_back(std::move(t));
    }
  }
  for (size_t i = 0; i < f.states; ++i) ctx.set(i, std::move(states[i]));
  for (size_t k = 0; k < f.results; ++k) ctx.set(f.states + k, std::move(results[k]));
  return ok();
}

// ------------------------------------------------------------------------------- SequenceMap
Status infer_sequence_map(InferContext& ctx) {
  TRY_ASSIGN(const GraphId g,
             body_of(ctx.model(), ctx.node(), ctx.num_inputs(), ctx.num_outputs()));
  std::vector<Type> inputs;
  for (size_t i = 0; i < ctx.num_inputs(); ++i) {
    const Type& t = ctx.input(i);
    if (i == 0 && t.known() && t.kind != TypeKind::kSequence)
      return ctx.error(format("input {} is no sequence", t.text()));
    inputs.push_back(t.kind == TypeKind::kSequence ? (t.inner ? *t.inner : Type::unknown()) : t);
  }
  TRY_ASSIGN(const std::vector<Type> types, ctx.infer_graph(g, inputs));
  for (size_t i = 0; i < ctx.num_outputs() && i < types.size(); ++i)
    if (types[i].known()) TRY(ctx.set(i, Type::sequence(types[i])));
  return ok();
}

Status eval_sequence_map(EvalContext& ctx) {
  TRY_ASSIGN(const GraphId g,
             body_of(ctx.model(), ctx.node(), ctx.num_inputs(), ctx.num_outputs()));
  if (!ctx.has(0) || !ctx.datum(0).seq) return ctx.error("the first input is no sequence");
  const size_t count = ctx.datum(0).seq->size();
  std::vector<Sequence> results(ctx.num_outputs());
  for (size_t k = 0; k < count; ++k) {
    TRY(ctx.host().step());
    std::vector<Datum> inputs;
    for (size_t i = 0; i < ctx.num_inputs(); ++i) {
      const Datum& d = ctx.datum(i);
      if (d.kind == TypeKind::kSequence && (!d.seq || d.seq->size() != count))
        return ctx.error("the sequences differ in length");
      inputs.push_back(d.kind == TypeKind::kSequence ? (*d.seq)[k] : d);
    }
    TRY_ASSIGN(std::vector<Datum> out, ctx.host().run_graph(g, std::move(inputs)));
    for (size_t i = 0; i < results.size() && i < out.size(); ++i)
      results[i].push_back(std::move(out[i]));
  }
  for (size_t i = 0; i < results.size(); ++i)
    ctx.set(i, Datum::sequence(std::move(results[i]), output_type(ctx.model(), g, i).dtype));
  return ok();
}

constexpr VersionStep kScanSteps[] = {{9, nullptr, nullptr}};

}  // namespace
}  // namespace onnxtool

ONNXTOOL_OPS(scan,
             {.name = "Scan",
              .infer = infer_scan,
              .eval = eval_scan,
              .steps = kScanSteps,
              .flags = kControlFlow},
             {.name = "SequenceMap",
              .infer = infer_sequence_map,
              .eval = eval_sequence_map,
              .flags = kControlFlow});
