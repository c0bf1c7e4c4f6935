// SPDX-License-Identifier: Apache-2.0
// ONNX text syntax (onnx docs/Syntax.md) to the wire, by recursive descent, in one pass. It takes
// what the syntax says and what onnx.parser accepts, and beyond that: lists of tensors, graphs and
// types, quoted names everywhere, real numbers as values of narrow floats, one number for each
// element of types below 8 bits, the type `undefined`. Numbers of elements and ranges are checked.
#pragma once
#include <string>

#include "libonnxtool/ir/attribute.h"
#include "libonnxtool/onnx/text_lexer.h"
#include "libonnxtool/onnx/wire.h"
#include "libonnxtool/onnx/wire_build.h"

namespace onnxtool {

struct TextType {
  std::string wire;     // the TypeProto
  bool tensor = false;  // a tensor type, with:
  DType dtype = DType::kUndefined;
  bool numeric = true;  // all dims are known
  Dims dims;
};

class TextReader {
 public:
  explicit TextReader(std::string_view text) : in_(text) {}
  Result<std::string> model();

 private:
  // text_read.cc
  Status model_header();
  Status opsets(uint32_t field);
  Status pairs(uint32_t field);
  Status graph(std::string name);
  Status graph_inputs();
  Status value_infos(uint32_t field, char open, char close);
  Status values_and_initializers();
  Status nodes(uint32_t field);
  Status node();
  Status operator_name();
  Status names(uint32_t field);
  Status function();
  Status function_header();
  Status function_attributes();
  Status function_values(uint32_t field);
  Status value_info(uint32_t field, const TextType* type, std::string_view name);
  Status typed_name(TextType& type, bool& typed, std::string& name);

  // text_read_value.cc
  Status attribute_after(std::string name);
  Status attribute_list(AttrType& type);
  Status attribute_value(AttrType expected, bool in_list, AttrType& got);
  Status attributes(size_t& count);  // "<...>" or nothing
  bool at_type();
  Status type(TextType& t);
  Status type_into(WireBuilder& w, TextType* top);
  Status tensor_type(WireBuilder& w, DType dtype, TextType* top);
  Status dims(WireBuilder& w, TextType* top);
  Status opaque(WireBuilder& w);
  Status tensor(const TextType& t, std::string_view name);
  Status elements(const TextType& t);
  Status wide_elements(DType dtype, uint64_t& count);
  Status narrow_elements(DType dtype, int64_t want, uint64_t& count);
  Status narrow_element(DType dtype, int32_t& v, bool& real);

  // Begins a message unless it is nested too deep.
  Status begin(uint32_t field);

  TextLexer in_;
  WireBuilder out_;
  size_t type_depth_ = 0;
};

}  // namespace onnxtool
