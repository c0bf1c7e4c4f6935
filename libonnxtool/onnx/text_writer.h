// SPDX-License-Identifier: Apache-2.0
// The wire to ONNX text syntax. onnx.parser reads what is written here wherever the syntax can say
// it; beyond the syntax go quoted names of operators, attributes and subgraphs, lists of tensors,
// graphs and types, and the type `undefined`. Not written: doc strings and metadata of all but the
// model (and doc strings of functions), denotations, names of parts that are empty, payloads of
// NaN. What else the syntax cannot say is an error.
#pragma once
#include <string>
#include <string_view>

#include "libonnxtool/ir/attribute.h"
#include "libonnxtool/onnx/message_view.h"

namespace onnxtool {

class TextWriter {
 public:
  explicit TextWriter(std::string_view wire)
      : base_(reinterpret_cast<const std::byte*>(wire.data())) {}
  Status model(std::string_view wire);
  std::string take() { return std::move(out_); }

 private:
  // text_write.cc
  Status graph(const MessageView& g, int depth);
  Status values_and_initializers(const MessageView& g, int depth);
  Status nodes(std::span<const WireField> found, const FieldDesc& d, int depth);
  Status node(const MessageView& n, int depth);
  Status function(const MessageView& f, int depth);
  Status value_infos(const MessageView& of, uint32_t field, const char* open, const char* close,
                     int depth);
  Status value_info(const MessageView& v, int depth);
  Status opsets(const MessageView& of, uint32_t field);
  Status pairs(const MessageView& of, uint32_t field);
  void names(const MessageView& of, uint32_t field);
  Error cannot_say(std::string_view what) const;
  Status refuse(const MessageView& of, uint32_t field) const;

  // text_write_value.cc
  Status attribute(const MessageView& a, int depth);
  Status attributes(const MessageView& of, uint32_t field, int depth);
  Status payload(const MessageView& a, AttrType type, int depth);
  Status type(const MessageView& t, int depth);
  Status tensor_type(const MessageView& t);
  Status element_type(int64_t number, bool or_undefined);
  Status tensor(const MessageView& t, bool initializer);
  Status elements(const MessageView& t, DType dtype);
  Status typed_elements(const MessageView& t, DType dtype, uint64_t& count);
  void raw_elements(std::string_view raw, DType dtype, uint64_t count);
  void quote(std::string_view s);
  void name(std::string_view s);       // quoted where it must be
  void qualified(std::string_view s);  // with dots
  template <typename T>
  void number(T v);
  void separate(bool& first, std::string_view separator = ", ") {
    if (!first) out_ += separator;
    first = false;
  }
  void line() {
    out_.push_back('\n');
    out_.append(indent_ * 3, ' ');
  }
  Result<MessageView> view(const MessageDesc& desc, const WireField& f) const {
    return MessageView::of(desc, {f.view()}, base_);
  }

  const std::byte* base_;
  std::string out_;
  size_t indent_ = 0;
};

}  // namespace onnxtool
