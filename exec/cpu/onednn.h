// SPDX-License-Identifier: Apache-2.0
// oneDNN behind the kernel contract: descriptors from operands, post operations, packed weights,
// and running a primitive without allocating.
#pragma once
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "exec/cpu/util.h"

namespace onnxtool::cpu {

const dnnl::engine& dnnl_engine();

std::optional<dnnl::memory::data_type> dnnl_type(DType t);
// Dims and strides of the operand as it lies in memory.
dnnl::memory::desc dnnl_desc(const Operand& o);
dnnl::memory::desc dnnl_desc(const Operand& o, const Dims& dims,
                             const std::vector<int64_t>& strides);
dnnl::memory::desc dnnl_any(const Operand& o);
// Weights of a convolution as they lie in the model.
dnnl::memory::desc dnnl_conv_weights(const Operand& w, int64_t group, bool transposed);

// Post operations on dst of the step's output 0. `why` is set where one cannot be expressed.
struct DnnlPost {
  dnnl::post_ops ops;
  struct Binary {
    int index;     // in the list of post operations
    size_t input;  // of the step
    dnnl::memory::desc desc;
  };
  std::vector<Binary> binaries;
};
const char* check_post(const StepInfo& s);
DnnlPost make_post(const StepInfo& s);

// Runs one primitive. Arguments are bound by index: inputs, outputs, scratch, or fixed memory.
class DnnlStep final : public Prepared {
 public:
  enum Source : uint8_t { kInput, kOutput, kScratch, kFixed };
  DnnlStep(dnnl::primitive primitive, std::string info) : primitive_(std::move(primitive)) {
    detail = std::move(info);
  }
  // Returns where in the scratch memory a kScratch argument lies.
  int64_t bind(int arg, const dnnl::memory::desc& desc, Source source, size_t index,
               int64_t offset = 0);
  // Input `index` rounded to bfloat16 before each run; `desc` as it lies, of that type.
  void bind_rounded(int arg, const dnnl::memory::desc& desc, size_t index);
  void bind_data(int arg, const dnnl::memory::desc& desc, Tensor data);
  // Weights in the primitive's own form, from constant input `index`; kept in the pack cache.
  Status pack(int arg, const StepInfo& s, size_t index, const dnnl::memory::desc& from,
              const dnnl::memory::desc& to, PrepareContext& ctx);
  void bind_post(const DnnlPost& post);
  Status run(const RunArgs& args) const override;

 private:
  struct Bound {
    int arg;
    dnnl::memory::desc desc;
    Source source;
    size_t index;
    int64_t offset;
  };
  struct Set {
    std::vector<dnnl::memory> memory;
    std::vector<dnnl_exec_arg_t> args;
  };
  std::unique_ptr<Set> take() const;
  struct Rounded {
    size_t index;
    int64_t offset, count;
  };
  dnnl::primitive primitive_;
  std::vector<Rounded> rounded_;
  std::vector<Bound> bound_;
  std::vector<std::shared_ptr<const std::byte>> packed_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Set>> free_;
};

// Kernels of Precision::kBf16: refused in any other, and without instructions for it.
Status check_bf16(const PrepareContext& ctx);

// dnnl throws: f() with its exceptions as errors.
template <typename F>
auto dnnl_try(F f) -> decltype(f()) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    return unsupported(std::string("oneDNN: ") + e.what());
  } catch (const std::exception& e) {
    return unsupported(e.what());
  }
}

dnnl::primitive_attr dnnl_attr(const DnnlPost& post);
bool is_reference_impl(const std::string& info);

}  // namespace onnxtool::cpu
