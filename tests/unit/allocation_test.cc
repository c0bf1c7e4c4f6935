// SPDX-License-Identifier: Apache-2.0
// Running a plan allocates nothing: counted by replacing the global allocator.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>

#include "exec/engine.h"
#include "libonnxtool/infer/infer.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<int64_t> allocations{0};
void* taken(std::size_t n, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) ++allocations;
  n = (n + alignment - 1) / alignment * alignment;
  if (void* p = std::aligned_alloc(alignment, n == 0 ? alignment : n)) return p;
  throw std::bad_alloc();
}
}  // namespace

// Not inlined: the compiler would pair free() with a new that it knows.
[[gnu::noinline]] void* operator new(std::size_t n) { return taken(n, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
  return taken(n, std::max(static_cast<std::size_t>(a), alignof(std::max_align_t)));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}

using namespace onnxtool;

namespace {

// A convolution, a product and what lies between, for a batch that is known when running.
Model small_net() {
  Model m;
  m.ir_version = 10;
  const GraphId g = m.add_graph();
  OpsetImport opset;
  opset.version = 21;
  m.opset_imports.push_back(opset);
  const auto constant = [&](const char* name, const Dims& d) {
    int64_t n = 1;
    for (int64_t e : d) n *= e;
    std::vector<float> v(static_cast<size_t>(n), 0.01f);
    return m.add_initializer(g, name, Tensor::of<float>(d, std::span<const float>(v)));
  };
  const auto node = [&](const char* op, std::vector<ValueId> in,
                        std::vector<Attribute> attrs = {}) {
    return m.node(m.add_node(g, Sym(op), in, {std::string("y.") + op}, attrs)).output(0);
  };
  const Type type = Type::tensor(DType::kFloat, Shape{Dim::symbol("n"), Dim(16), Dim(20), Dim(20)});
  ValueId x = m.add_input(g, "x", type);
  x = node("Conv", {x, constant("w", {32, 16, 3, 3}), constant("b", {32})});
  x = node("Sigmoid", {x});
  x = node("GlobalAveragePool", {x});
  x = node("Flatten", {x});
  x = node("MatMul", {x, constant("v", {32, 10})});
  x = node("Softmax", {x});
  m.add_graph_output(g, x);
  return m;
}

}  // namespace

TEST_CASE("a run allocates nothing, also where shapes alternate") {
  auto engine = Engine::compile(small_net(), {.threads = 1});
  REQUIRE(engine.ok());
  std::vector<Datum> inputs[2], outputs[2];
  for (int64_t n : {1, 2}) {
    auto t = Tensor::allocate(DType::kFloat, {n, 16, 20, 20});
    REQUIRE(t.ok());
    for (float& f : t->mut<float>()) f = 0.5f;
    inputs[n - 1] = {Datum(*t)};
  }
  for (int round = 0; round < 4; ++round) {
    allocations = 0;
    counting = true;
    const bool ok =
        engine->run(inputs[0], outputs[0]).ok() && engine->run(inputs[1], outputs[1]).ok();
    counting = false;
    REQUIRE(ok);
    if (round == 0) CHECK(allocations > 0);  // two plans
  }
  CHECK(allocations == 0);
}
