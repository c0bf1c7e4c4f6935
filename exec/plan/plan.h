// SPDX-License-Identifier: Apache-2.0
// A plan: one graph for one set of concrete input types, as steps in order, each with its kernel,
// and a place for every value. make_plan() runs the stages in order; each stage is one file:
//   concretize  shapes and every value that does not depend on data; bodies of constant Ifs inlined
//   fuse        nodes to steps: patterns, post operations, elementwise regions
//   layout      plain or channels-last for each value, reorders where they meet
//   devices     CPU or second device for each step, copies where they meet
//   choose      a kernel for each step
//   place       lifetimes, views, in-place, offsets in one arena
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "exec/plan/kernel.h"
#include "exec/plan/step.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

enum class Place : uint8_t {
  kNone,  // not used while running
  kConstant,
  kInput,   // memory of the caller
  kOutput,  // written straight into the result
  kArena,
  kHeap,  // a Datum that exists only while running: size not known before, or not a tensor
};

using MakeTensor = std::function<Result<Tensor>()>;

struct PlanValue {
  ValueId origin;  // value of the model; invalid for the plan's own
  Type type;       // full type for values that are not tensors
  DType dtype = DType::kUndefined;
  bool known = false;  // a tensor whose dims are known
  Dims dims;
  Layout layout = Layout::kPlain;
  bool on_device = false;  // lies in memory of the second device
  Tensor constant;         // defined: the value is known
  // Of a large constant that is made when it is needed (its `constant` has type and dims only),
  // and how many of those lie behind each other then.
  MakeTensor make;
  int make_depth = 0;
  std::optional<std::vector<Dim>> partial;  // integer content known in part

  Place place = Place::kNone;
  int view_of = -1;    // same bytes as that value
  int index = -1;      // which input or output
  int64_t offset = 0;  // in the arena
  int64_t bytes = 0;

  bool is_constant() const { return constant.defined(); }
  bool is_tensor() const { return dtype != DType::kUndefined; }
  int64_t size() const;
  MakeTensor content() const;  // of a constant; holds what it needs
  Status settle();             // the bytes are there from now on
};

struct PlanBody {  // a graph that the step runs while running
  GraphId graph;
  std::string attr;
  struct Capture {
    ValueId origin;
    int value;
  };
  std::vector<Capture> captures;
};

struct PlanStep {
  Sym op;
  NodeId node;                // main node; invalid for the plan's own steps
  std::vector<NodeId> nodes;  // every node it stands for
  std::vector<int> in, out;   // values; -1: left out
  size_t main_inputs = 0;
  std::vector<Attribute> attrs;  // set by the plan, before those of the node
  std::vector<PostOp> post;
  std::shared_ptr<const EltProgram> program;
  std::shared_ptr<const AttentionSpec> attention;
  std::vector<PlanBody> bodies;
  bool dynamic = false;    // some shape is known only while running: kernel chosen then
  bool on_device = false;  // runs on the second device: all its values lie there
  bool removed = false;

  const Kernel* kernel = nullptr;
  std::shared_ptr<const Prepared> prepared;
  bool prepare_again = false;  // for each run: `prepared` tells only what it needs
  int64_t scratch_offset = 0;  // in the arena
  std::vector<std::pair<const char*, std::string>> refused;  // kernel, why (when asked for)

  bool is(std::string_view name) const { return op.view() == name; }
};

struct Plan {
  std::deque<PlanValue> values;  // references stay valid while it grows
  std::vector<PlanStep> steps;
  std::vector<int> inputs, outputs;  // values
  int64_t arena_bytes = 0, arena_lower_bound = 0;
  int64_t device_arena_bytes = 0;
  int64_t folded_nodes = 0, folded_bytes = 0;
};

struct PlanInput {
  ValueId value;
  Type type;        // tensors: with constant dims where they are known
  Tensor constant;  // defined: the value is known already
};

struct PlanOptions {
  bool fuse = true;
  bool keep_all = false;      // every value of the model is computed as it is
  std::vector<ValueId> keep;  // these are
  bool keep_refusals = false;
  bool islands = false;      // single steps on the device, too
  bool promote_half = true;  // float16 and bfloat16 are computed in float
  bool keep_packs = true;    // off: what was packed is made and packed again for each run
  int64_t memory_limit = INT64_MAX;
};

struct PlanRequest {
  const Model* model = nullptr;
  GraphId graph;
  std::vector<PlanInput> inputs;  // graph inputs in order, then captured values
  bool main = true;               // outputs get their declared element types back
  // Constants of the model that only this plan will ever read are moved out of it, so that each
  // is let go of once it is packed. Null: the model keeps all.
  Model* take = nullptr;
};

// `device`: of the second device, null without one.
Result<Plan> make_plan(const PlanRequest& request, const KernelIndex& kernels, PrepareContext& ctx,
                       const PlanOptions& options, PrepareContext* device = nullptr);

// Views, in-place, lifetimes, offsets: fills the places of all values.
void place_values(Plan& plan, const Model& model);

// A constant of this type is made when it is needed: it is large, and not too many like it have to
// be made before it.
bool made_late(const PlanValue& value, int depth);
// The value, whose type is set, is what `make` gives, at once or late.
Status set_constant(PlanValue& value, MakeTensor make, int depth = 0);
// A constant of the plan's own.
int add_plan_constant(Plan& plan, Tensor t);
Result<int> add_plan_constant(Plan& plan, DType dtype, const Dims& dims, MakeTensor make,
                              int depth = 0);
// Lets `info`, of `step`, have the bytes of constants that are still to be made; `made` holds them.
Status add_contents(const Plan& plan, const PlanStep& step, StepInfo& info,
                    std::deque<Tensor>& made);

std::string explain_plan(const Plan& plan, const Model& model);
// "[1,64,56,56] [64,64,3,3] -> [1,64,56,56]"
std::string step_shapes(const Plan& plan, const PlanStep& step);
// "Conv+Add+Relu"
std::string step_ops(const Plan& plan, const PlanStep& step, const Model& model);

// The step as its kernels see it.
StepInfo step_info(const Plan& plan, const PlanStep& step, const Model& model);

// Multiply-accumulates of one call; 0 where its operator does not count them.
int64_t step_macs(const StepInfo& step);

// Why the kernel does not take the step; nullptr: it does.
const char* refusal(const Kernel& kernel, const StepInfo& step);

// Which kernels choose_kernel() looks at.
enum class Side : uint8_t { kHost, kDevice };

// Chooses and prepares: the first candidate that accepts and can be prepared.
struct Chosen {
  const Kernel* kernel = nullptr;
  std::shared_ptr<const Prepared> prepared;
};
Result<Chosen> choose_kernel(const StepInfo& step, const KernelIndex& kernels, PrepareContext& ctx,
                             std::vector<std::pair<const char*, std::string>>* refused = nullptr,
                             Side side = Side::kHost);

bool is_transfer(const PlanStep& step);  // step_kind::kUpload or kDownload

// Marks the steps that run on the device, chooses and prepares their kernels, and puts steps
// step_kind::kUpload and kDownload where their values meet those of the host.
Status assign_devices(Plan& plan, const Model& model, const KernelIndex& kernels,
                      PrepareContext& device, const PlanOptions& options);

}  // namespace onnxtool
