// SPDX-License-Identifier: Apache-2.0
// Elementwise programs of one input of 8 bits: each result is looked up in a table of all 256.
#include "exec/cpu/elementwise.h"
#include "exec/cpu/simd/byte_gemm.h"
#include "exec/cpu/util.h"

namespace onnxtool {
namespace cpu {
namespace {

bool byte(DType t) { return t == DType::kUint8 || t == DType::kInt8; }

const char* accept(const StepInfo& s) {
  if (!s.program || s.program->ops.size() < 2) return "too short to be worth a table";
  if (s.in.size() != 1 || !byte(s.in[0].dtype)) return "not one input of 8 bits";
  for (const Operand& o : s.out)
    if ((!byte(o.dtype) && !is_f32(o)) || o.dims != s.in[0].dims || !same_order(s.in[0], o))
      return "outputs";
  if (s.in[0].size() < 1024) return "too small to be worth a table";
  return check_chain(s);
}

struct Tables {
  Tensor codes;
  std::vector<Tensor> out;  // by output
};

Result<std::unique_ptr<Prepared>> prepare(const StepInfo& s, PrepareContext& ctx) {
  // The program itself on all codes.
  StepInfo small = s;
  small.in[0].dims = {256};
  small.in[0].layout = Layout::kPlain;
  for (Operand& o : small.out) o.dims = {256}, o.layout = Layout::kPlain;
  TRY_ASSIGN(auto program, prepare_chain(small, ctx));
  auto tables = std::make_shared<Tables>();
  std::vector<int64_t> codes;
  for (int64_t i = 0; i < 256; ++i)
    codes.push_back(s.in[0].dtype == DType::kInt8 ? static_cast<int8_t>(i) : i);
  TRY_ASSIGN(tables->codes, Tensor::from_i64(s.in[0].dtype, {256}, codes));
  std::vector<void*> results;
  for (const Operand& o : s.out) {
    TRY_ASSIGN(Tensor t, Tensor::allocate(o.dtype, {256}));
    tables->out.push_back(std::move(t));
    results.push_back(tables->out.back().mutable_raw());
  }
  const void* from = tables->codes.raw();
  TRY(program->run({&from, results.data(), nullptr, nullptr}));
  return prepared([tables, n = s.in[0].size()](const RunArgs& a) {
    const auto* x = in<uint8_t>(a, 0);
    for (size_t i = 0; i < tables->out.size(); ++i) {
      const Tensor& t = tables->out[i];
      parallel_for(n, grain_for(0.1, 64), [&](int64_t begin, int64_t end) {
        if (t.dtype() == DType::kFloat)
          simd::byte_table_f32(x + begin, t.as<float>().data(), out<float>(a, i) + begin,
                               end - begin);
        else
          simd::byte_table(x + begin, reinterpret_cast<const uint8_t*>(t.raw()),
                           out<uint8_t>(a, i) + begin, end - begin);
      });
    }
  });
}

uint64_t in_place(const StepInfo& s) { return s.out.size() == 1 && byte(s.out[0].dtype) ? 1 : 0; }

}  // namespace
}  // namespace cpu
}  // namespace onnxtool

ONNXTOOL_CPU_KERNELS(byte_table, {"table", step_kind::kElementwise, 8, cpu::accept, cpu::prepare,
                                  cpu::in_place})
