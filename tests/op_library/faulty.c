/* SPDX-License-Identifier: Apache-2.0
 * What onnxtool must refuse: operators of the domain "faulty" that break the rules of op_library.h.
 * With FAULTY_ABI, FAULTY_DOMAIN the library is refused as a whole.
 */
#include <string.h>

#include "libonnxtool/op_library.h"

#ifndef FAULTY_ABI
#define FAULTY_ABI ONNXTOOL_OP_LIBRARY_ABI
#endif
#ifndef FAULTY_DOMAIN
#define FAULTY_DOMAIN "faulty"
#endif

static int32_t same(onnxtool_call* call, const onnxtool_type* in, onnxtool_type* out) {
  (void)call;
  out[0] = in[0];
  return ONNXTOOL_OK;
}
static int32_t bad_type(onnxtool_call* call, const onnxtool_type* in, onnxtool_type* out) {
  same(call, in, out);
  out[0].dtype = 77;
  return ONNXTOOL_OK;
}
static int32_t bad_rank(onnxtool_call* call, const onnxtool_type* in, onnxtool_type* out) {
  same(call, in, out);
  out[0].rank = 1000;
  return ONNXTOOL_OK;
}
static int32_t bad_symbol(onnxtool_call* call, const onnxtool_type* in, onnxtool_type* out) {
  same(call, in, out);
  out[0].dims[0] = -1000;
  return ONNXTOOL_OK;
}
static int32_t long_message(onnxtool_call* call, const onnxtool_type* in, onnxtool_type* out) {
  (void)in, (void)out;
  memset(call->message, 'x', sizeof call->message);
  return 42;
}

static int32_t silent(onnxtool_call* call, const onnxtool_tensor* in, const uint8_t* wanted) {
  (void)call, (void)in, (void)wanted;
  return ONNXTOOL_OK;
}
static int32_t give(onnxtool_call* call, int32_t dtype, int64_t size) {
  return call->allocate(call, 0, dtype, 1, &size) ? ONNXTOOL_OK : ONNXTOOL_UNSUPPORTED;
}
static int32_t negative(onnxtool_call* call, const onnxtool_tensor* in, const uint8_t* wanted) {
  (void)in, (void)wanted;
  return give(call, 1, -5);
}
static int32_t huge(onnxtool_call* call, const onnxtool_tensor* in, const uint8_t* wanted) {
  (void)in, (void)wanted;
  return give(call, 1, INT64_MAX / 2);
}
static int32_t no_type(onnxtool_call* call, const onnxtool_tensor* in, const uint8_t* wanted) {
  (void)in, (void)wanted;
  return give(call, 99, 1);
}
static int32_t longer(onnxtool_call* call, const onnxtool_tensor* in, const uint8_t* wanted) {
  (void)wanted;
  return give(call, 1, in[0].dims[0] + 1);
}
static int32_t twice(onnxtool_call* call, const onnxtool_tensor* in, const uint8_t* wanted) {
  (void)wanted;
  const int32_t first = give(call, 1, in[0].dims[0]);
  return first ? first : give(call, 1, in[0].dims[0]);
}
static int32_t truth(onnxtool_call* call, const onnxtool_tensor* in, const uint8_t* wanted) {
  (void)wanted;
  unsigned char* to = call->allocate(call, 0, 9, 1, in[0].dims);
  if (!to) return ONNXTOOL_UNSUPPORTED;
  for (int64_t i = 0; i < in[0].dims[0]; i++) to[i] = (unsigned char)(i * 7);
  return ONNXTOOL_OK;
}

#define OP(name, infer, eval) {FAULTY_DOMAIN, name, 1, 1, 1, 1, 0, infer, eval, NULL}
static const onnxtool_op ops[] = {
    OP("BadType", bad_type, silent), OP("BadRank", bad_rank, silent),
    OP("BadSymbol", bad_symbol, silent), OP("LongMessage", long_message, silent),
    OP("Silent", same, silent),      OP("Negative", NULL, negative),
    OP("Huge", NULL, huge),          OP("NoType", NULL, no_type),
    OP("Longer", same, longer),      OP("Twice", same, twice),
    OP("Truth", NULL, truth),        OP("NoEval", same, NULL),
};
static const onnxtool_op_library library = {FAULTY_ABI, "faulty", "0", sizeof ops / sizeof ops[0],
                                            ops};

const onnxtool_op_library* onnxtool_op_library_get(uint32_t abi) {
  (void)abi;
  return &library;
}
