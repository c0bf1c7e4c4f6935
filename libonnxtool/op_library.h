/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators from a shared library: what such a library gives to onnxtool and gets from it. Plain C,
 * no other header of ours is needed. `onnxtool --op-library LIB.so COMMAND ...` opens the library,
 * nothing else does: it runs inside of the process, with all its rights. tests/op_library/ holds an
 * example.
 *
 * A library exports one function, onnxtool_op_library_get(). onnxtool passes the version of this
 * interface that it speaks; the library returns NULL if it does not speak that one, or its table,
 * whose `abi` says the same version again. Structures only change with the version.
 *
 * Ownership. The table, and all it points to, stay valid until the process ends. What onnxtool
 * passes to a callback (names, types, tensors, attributes) is valid during that call and must not
 * be written, but for `outputs`, `message` and the memory that allocate() returned.
 *
 * Types are numbers of onnx.proto: elements TensorProto.DataType (1 float, 7 int64...), attributes
 * AttributeProto.AttributeType. Only tensors come and go: a node with a sequence, map, optional or
 * sparse operand, or an attribute that is a graph, is refused before a callback is called.
 *
 * Layout. Tensors are dense, row-major, little-endian, aligned to their element; types below 8 bits
 * are packed, low bits first; bool is one byte, 0 or 1; strings are onnxtool_string.
 *
 * Errors. A callback returns ONNXTOOL_OK, or a code with a reason in call->message (any text, cut
 * at 511 bytes). It must not throw, exit or jump out. Both callbacks may be called from several
 * threads at once, and for the same node any number of times.
 */
#ifndef ONNXTOOL_OP_LIBRARY_H
#define ONNXTOOL_OP_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ONNXTOOL_OP_LIBRARY_ABI 1u
#define ONNXTOOL_MAX_RANK 32

#define ONNXTOOL_OK 0
#define ONNXTOOL_INVALID 1     /* inputs or attributes contradict the operator */
#define ONNXTOOL_UNSUPPORTED 2 /* right, but not implemented */

/* onnxtool_op::flags: two runs with the same inputs may differ, so that the operator is never
 * computed ahead, and equal nodes are never merged. */
#define ONNXTOOL_OP_RANDOM 1u

typedef struct onnxtool_string {
  const char* data; /* not terminated; may hold any byte */
  size_t size;
} onnxtool_string;

typedef struct onnxtool_tensor {
  int32_t dtype; /* 0: left out, and all else is 0 */
  int32_t rank;
  const int64_t* dims; /* rank sizes, each >= 0 */
  const void* data;    /* may be NULL where there are no elements */
  size_t count;        /* elements: the product of dims */
  size_t bytes;        /* of data; for strings count * sizeof(onnxtool_string) */
} onnxtool_tensor;

/* What is known of a value before the model runs. */
typedef struct onnxtool_type {
  int32_t present; /* 0: the node leaves it out, and all else means nothing */
  int32_t dtype;   /* 0: not known */
  int32_t rank;    /* -1: not known */
  /* A size, or -1: not known, or below -1: a symbol, a size without value. Equal symbols of one
   * call are equal sizes; an output takes an input's symbol by its number. */
  int64_t dims[ONNXTOOL_MAX_RANK];
  const onnxtool_tensor* value; /* inputs: the contents where they are known (constants), or NULL */
} onnxtool_type;

typedef struct onnxtool_attribute {
  const char* name;
  int32_t kind;      /* 1 float, 2 int, 3 string, 4 tensor, 6 floats, 7 ints, 8 strings */
  float f;           /* the value of kind 1 */
  int64_t i;         /* 2 */
  onnxtool_string s; /* 3 */
  const onnxtool_tensor* tensor;  /* 4 */
  size_t count;                   /* of floats, ints or strings */
  const float* floats;            /* 6 */
  const int64_t* ints;            /* 7 */
  const onnxtool_string* strings; /* 8 */
} onnxtool_attribute;

/* One application of an operator. */
typedef struct onnxtool_call {
  const char* domain;
  const char* op;
  const char* node; /* its name, may be "" */
  size_t num_attributes;
  const onnxtool_attribute* attributes;
  size_t num_inputs; /* as the node lists them; each may be left out */
  size_t num_outputs;
  void* user;        /* onnxtool_op::user */
  char message[512]; /* for the callback: why it failed */

  /* While evaluating; NULL in a shape rule. Memory of a result, zeroed (strings: empty), to be
   * filled before the callback returns. Once for each output that is wanted (wanted[i]); a second
   * call for the same output, one that is not wanted, or a size that is negative or beyond the
   * memory limit gives NULL: the callback should then return ONNXTOOL_UNSUPPORTED. Not NULL for 0
   * elements. Strings are set by set_string() instead, which copies and returns 0, or -1 out of
   * range. */
  void* (*allocate)(struct onnxtool_call* call, size_t output, int32_t dtype, int32_t rank,
                    const int64_t* dims);
  int (*set_string)(struct onnxtool_call* call, size_t output, size_t index, onnxtool_string value);
  void* host; /* onnxtool's own */
} onnxtool_call;

/* Types of the outputs from those of the inputs. `outputs` come with dtype 0 and rank -1; what is
 * not known may stay so. */
typedef int32_t (*onnxtool_infer_fn)(onnxtool_call* call, const onnxtool_type* inputs,
                                     onnxtool_type* outputs);
/* Every output that is wanted (wanted[i] != 0) must be allocated. Types and sizes must be those
 * that the shape rule gives for these inputs. */
typedef int32_t (*onnxtool_eval_fn)(onnxtool_call* call, const onnxtool_tensor* inputs,
                                    const uint8_t* wanted);

typedef struct onnxtool_op {
  const char* domain; /* not one of the standard's ("ai.onnx"...) */
  const char* name;
  int32_t min_inputs, max_inputs; /* max -1: any number */
  int32_t min_outputs, max_outputs;
  uint32_t flags;
  onnxtool_infer_fn infer; /* NULL: nothing is known of the outputs until they are computed */
  onnxtool_eval_fn eval;   /* NULL: the operator can be checked, not run */
  void* user;
} onnxtool_op;

typedef struct onnxtool_op_library {
  uint32_t abi; /* ONNXTOOL_OP_LIBRARY_ABI */
  const char* name;
  const char* version;
  size_t num_ops;
  const onnxtool_op* ops;
} onnxtool_op_library;

typedef const onnxtool_op_library* (*onnxtool_op_library_get_fn)(uint32_t abi);

/* The library defines this one. */
#if defined(_WIN32)
__declspec(dllexport)
#elif defined(__GNUC__)
__attribute__((visibility("default")))
#endif
    const onnxtool_op_library* onnxtool_op_library_get(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
