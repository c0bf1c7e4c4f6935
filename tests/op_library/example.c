/* SPDX-License-Identifier: Apache-2.0
 * A library of three operators for onnxtool, in the domain "example":
 *   ScaleAdd(x, y?) = alpha * x + y     float, any shape; y has the shape of x
 *   NonNegative(x)                      the elements of a vector that are not below 0
 *   Shout(s)                            strings in upper case (ASCII)
 * Build: cc -shared -fPIC -I<prefix>/include/onnxtool example.c -o libexample.so
 * Use:   onnxtool --op-library libexample.so run model.onnx
 */
#include <stdio.h>
#include <string.h>

#include "libonnxtool/op_library.h"

enum { kFloat = 1, kString = 8 };

static int32_t invalid(onnxtool_call* call, const char* reason) {
  snprintf(call->message, sizeof call->message, "%s", reason);
  return ONNXTOOL_INVALID;
}

static float alpha_of(const onnxtool_call* call) {
  for (size_t i = 0; i < call->num_attributes; i++)
    if (strcmp(call->attributes[i].name, "alpha") == 0 && call->attributes[i].kind == 1)
      return call->attributes[i].f;
  return 1.0f;
}

/* ------------------------------------------------------------------------------- ScaleAdd */
static int32_t infer_scale_add(onnxtool_call* call, const onnxtool_type* inputs,
                               onnxtool_type* outputs) {
  if (inputs[0].dtype != 0 && inputs[0].dtype != kFloat) return invalid(call, "x must be float");
  if (call->num_inputs > 1 && inputs[1].present && inputs[0].rank >= 0 && inputs[1].rank >= 0) {
    if (inputs[0].rank != inputs[1].rank) return invalid(call, "x and y differ in rank");
    for (int32_t k = 0; k < inputs[0].rank; k++)
      if (inputs[0].dims[k] >= 0 && inputs[1].dims[k] >= 0 &&
          inputs[0].dims[k] != inputs[1].dims[k])
        return invalid(call, "x and y differ in shape");
  }
  outputs[0].dtype = kFloat;
  outputs[0].rank = inputs[0].rank;
  /* Sizes and symbols alike: the result has the shape of x. */
  memcpy(outputs[0].dims, inputs[0].dims, sizeof inputs[0].dims);
  return ONNXTOOL_OK;
}

static int32_t eval_scale_add(onnxtool_call* call, const onnxtool_tensor* inputs,
                              const uint8_t* wanted) {
  const onnxtool_tensor* x = &inputs[0];
  const onnxtool_tensor* y = call->num_inputs > 1 && inputs[1].dtype != 0 ? &inputs[1] : NULL;
  const float alpha = alpha_of(call);
  if (x->dtype != kFloat || (y && y->dtype != kFloat)) return invalid(call, "x and y must be float");
  if (y && y->count != x->count) return invalid(call, "x and y differ in shape");
  if (!wanted[0]) return ONNXTOOL_OK;
  float* to = call->allocate(call, 0, kFloat, x->rank, x->dims);
  if (!to) return ONNXTOOL_UNSUPPORTED;
  for (size_t i = 0; i < x->count; i++)
    to[i] = alpha * ((const float*)x->data)[i] + (y ? ((const float*)y->data)[i] : 0.0f);
  return ONNXTOOL_OK;
}

/* ---------------------------------------------------------------------------- NonNegative */
static int32_t infer_non_negative(onnxtool_call* call, const onnxtool_type* inputs,
                                  onnxtool_type* outputs) {
  if (inputs[0].rank >= 0 && inputs[0].rank != 1) return invalid(call, "x must be a vector");
  outputs[0].dtype = kFloat;
  outputs[0].rank = 1;
  outputs[0].dims[0] = -1; /* depends on the data */
  return ONNXTOOL_OK;
}

static int32_t eval_non_negative(onnxtool_call* call, const onnxtool_tensor* inputs,
                                 const uint8_t* wanted) {
  const float* x = inputs[0].data;
  int64_t n = 0;
  if (inputs[0].dtype != kFloat) return invalid(call, "x must be float");
  for (size_t i = 0; i < inputs[0].count; i++) n += x[i] >= 0;
  if (!wanted[0]) return ONNXTOOL_OK;
  float* to = call->allocate(call, 0, kFloat, 1, &n);
  if (!to) return ONNXTOOL_UNSUPPORTED;
  for (size_t i = 0; i < inputs[0].count; i++)
    if (x[i] >= 0) *to++ = x[i];
  return ONNXTOOL_OK;
}

/* ---------------------------------------------------------------------------------- Shout */
static int32_t eval_shout(onnxtool_call* call, const onnxtool_tensor* inputs,
                          const uint8_t* wanted) {
  const onnxtool_string* s = inputs[0].data;
  if (inputs[0].dtype != kString) return invalid(call, "s must be strings");
  if (!wanted[0]) return ONNXTOOL_OK;
  if (!call->allocate(call, 0, kString, inputs[0].rank, inputs[0].dims))
    return ONNXTOOL_UNSUPPORTED;
  for (size_t i = 0; i < inputs[0].count; i++) {
    char text[256];
    onnxtool_string up = {text, s[i].size};
    if (s[i].size > sizeof text) {
      snprintf(call->message, sizeof call->message, "a string of %zu bytes", s[i].size);
      return ONNXTOOL_UNSUPPORTED;
    }
    for (size_t k = 0; k < s[i].size; k++)
      text[k] = s[i].data[k] >= 'a' && s[i].data[k] <= 'z' ? (char)(s[i].data[k] - 32) : s[i].data[k];
    if (call->set_string(call, 0, i, up) != 0) return ONNXTOOL_UNSUPPORTED;
  }
  return ONNXTOOL_OK;
}

static const onnxtool_op ops[] = {
    {"example", "ScaleAdd", 1, 2, 1, 1, 0, infer_scale_add, eval_scale_add, NULL},
    {"example", "NonNegative", 1, 1, 1, 1, 0, infer_non_negative, eval_non_negative, NULL},
    {"example", "Shout", 1, 1, 1, 1, 0, NULL, eval_shout, NULL},
};
static const onnxtool_op_library library = {ONNXTOOL_OP_LIBRARY_ABI, "example", "1.0",
                                            sizeof ops / sizeof ops[0], ops};

const onnxtool_op_library* onnxtool_op_library_get(uint32_t abi) {
  return abi == ONNXTOOL_OP_LIBRARY_ABI ? &library : NULL;
}
