// SPDX-License-Identifier: Apache-2.0
// Elementwise arithmetic on partial values (integers and booleans known as Dims, rank 0 or 1).
#pragma once
#include <functional>

#include "libonnxtool/ops/op.h"

namespace onnxtool {

// `d` as a value of type t: unknown where a constant would wrap.
Dim fit_dim(DType t, Dim d);
// Partial value of input i, also where it is a boolean constant.
std::optional<PartialValue> partial_of(const InferContext& ctx, size_t i);

// Sets the partial value of output 0 from those of the inputs by `f`, broadcast over rank 0 and 1.
// Elements that are not known go in as unknown Dims; nothing happens where the number of elements
// is not known, the output is no integer or boolean, or a rank is above 1.
// A constant that does not fit the output's element type becomes unknown.
void map_partial(InferContext& ctx, Dim (*f)(Dim));
void map_partial(InferContext& ctx, Dim (*f)(Dim, Dim));
void map_partial(InferContext& ctx, size_t inputs, DType out,
                 const std::function<Dim(std::span<const Dim>)>& f);

}  // namespace onnxtool
