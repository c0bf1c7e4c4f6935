// SPDX-License-Identifier: Apache-2.0
// Text form, written: models, graphs, functions and nodes.
#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/text_lexer.h"
#include "libonnxtool/onnx/text_writer.h"

namespace onnxtool {

Error TextWriter::cannot_say(std::string_view what) const {
  return unsupported(format("the text form cannot say {}; JSON can", what));
}

Status TextWriter::refuse(const MessageView& of, uint32_t field) const {
  if (!of.has(field)) return ok();
  return cannot_say(of.desc().find(field)->name);
}

Status TextWriter::model(std::string_view wire) {
  TRY_ASSIGN(const MessageView m, MessageView::of(kModelProto, {wire}, base_));
  TRY(refuse(m, 20));
  TRY(refuse(m, 26));
  if (!m.has(7)) return cannot_say("a model without a graph");
  bool first = true;
  const auto key = [&](const char* k) {
    out_ += first ? "<\n   " : ",\n   ";
    first = false;
    out_ += k;
    out_ += ": ";
  };
  for (uint32_t field : {1, 8, 2, 3, 4, 5, 6, 14}) {
    if (!m.has(field)) continue;
    key(kModelProto.find(field)->name);
    switch (field) {
      case 1:
      case 5: out_ += std::to_string(m.i64(field)); break;
      case 8: TRY(opsets(m, field)); break;
      case 14: TRY(pairs(m, field)); break;
      default: quote(m.text(field));
    }
  }
  if (!first) out_ += "\n>\n";
  TRY_ASSIGN(const MessageView g, m.message(7));
  TRY(graph(g, 1));
  out_.push_back('\n');
  for (const WireField& f : m.all(25)) {
    TRY_ASSIGN(const MessageView fn, view(kFunctionProto, f));
    if (auto s = function(fn, 1); !s.ok())
      return std::move(s).context("function " + quoted(fn.text(1)));
    out_.push_back('\n');
  }
  return ok();
}

Status TextWriter::opsets(const MessageView& of, uint32_t field) {
  out_.push_back('[');
  bool first = true;
  for (const WireField& f : of.all(field)) {
    TRY_ASSIGN(const MessageView o, view(kOperatorSetIdProto, f));
    separate(first);
    quote(o.text(1));
    out_ += " : " + std::to_string(o.i64(2));
  }
  out_.push_back(']');
  return ok();
}

Status TextWriter::pairs(const MessageView& of, uint32_t field) {
  out_.push_back('[');
  bool first = true;
  for (const WireField& f : of.all(field)) {
    TRY_ASSIGN(const MessageView e, view(kStringStringEntryProto, f));
    separate(first);
    quote(e.text(1));
    out_ += ": ";
    quote(e.text(2));
  }
  out_.push_back(']');
  return ok();
}

void TextWriter::names(const MessageView& of, uint32_t field) {
  bool first = true;
  for (const WireField& f : of.all(field)) {
    separate(first);
    name(f.view());
  }
}

Status TextWriter::value_info(const MessageView& v, int depth) {
  if (v.has(2)) {
    TRY_ASSIGN(const MessageView t, v.message(2));
    const size_t before = out_.size();
    if (auto s = type(t, depth + 1); !s.ok())
      return std::move(s).context("value " + quoted(v.text(1)));
    if (out_.size() > before) out_.push_back(' ');
  }
  name(v.text(1));
  return ok();
}

Status TextWriter::value_infos(const MessageView& of, uint32_t field, const char* open,
                               const char* close, int depth) {
  out_ += open;
  bool first = true;
  for (const WireField& f : of.all(field)) {
    TRY_ASSIGN(const MessageView v, view(kValueInfoProto, f));
    separate(first);
    TRY(value_info(v, depth + 1));
  }
  out_ += close;
  return ok();
}

Status TextWriter::graph(const MessageView& g, int depth) {
  if (depth > kMaxNesting)
    return unsupported(format("messages nested more than {} deep", kMaxNesting));
  TRY(refuse(g, 14));
  TRY(refuse(g, 15));
  name(g.text(2));
  TRY(value_infos(g, 11, " (", ") => (", depth));
  TRY(value_infos(g, 12, "", ")", depth));
  TRY(values_and_initializers(g, depth));
  return nodes(g.all(1), *kGraphProto.find(1), depth);
}

Status TextWriter::values_and_initializers(const MessageView& g, int depth) {
  if (!g.has(5) && !g.has(13)) {
    out_.push_back(' ');
    return ok();
  }
  line();
  out_.push_back('<');
  ++indent_;
  bool first = true;
  for (const WireField& f : g.all(5)) {
    TRY_ASSIGN(const MessageView t, view(kTensorProto, f));
    separate(first, ",");
    line();
    if (auto s = tensor(t, true); !s.ok())
      return std::move(s).context("initializer " + quoted(t.text(8)));
  }
  for (const WireField& f : g.all(13)) {
    TRY_ASSIGN(const MessageView v, view(kValueInfoProto, f));
    separate(first, ",");
    line();
    TRY(value_info(v, depth + 1));
  }
  --indent_;
  line();
  out_.push_back('>');
  line();
  return ok();
}

Status TextWriter::nodes(std::span<const WireField> found, const FieldDesc& d, int depth) {
  out_.push_back('{');
  ++indent_;
  for (const WireField& f : found) {
    TRY_ASSIGN(const MessageView n, view(*d.message, f));
    line();
    if (auto s = node(n, depth + 1); !s.ok())
      return std::move(s).context(format("node {} ({})", quoted(n.text(3)), escape(n.text(4))));
  }
  --indent_;
  line();
  out_.push_back('}');
  return ok();
}

Status TextWriter::node(const MessageView& n, int depth) {
  TRY(refuse(n, 10));
  if (!n.text(3).empty()) {
    out_.push_back('[');
    name(n.text(3));
    out_ += "] ";
  }
  names(n, 2);
  out_ += n.has(2) ? " = " : "= ";
  if (!n.text(7).empty()) {
    qualified(n.text(7));
    out_.push_back('.');
  }
  if (is_text_identifier(n.text(4)))
    out_ += n.text(4);
  else
    quote(n.text(4));
  if (!n.text(8).empty()) {
    out_.push_back(':');
    name(n.text(8));
  }
  bool subgraphs = false;
  for (const WireField& f : n.all(5)) {
    TRY_ASSIGN(const MessageView a, view(kAttributeProto, f));
    subgraphs = subgraphs || a.has(6) || a.has(11);
  }
  if (!subgraphs) TRY(attributes(n, 5, depth));
  out_ += " (";
  names(n, 1);
  out_.push_back(')');
  if (subgraphs) TRY(attributes(n, 5, depth));
  return ok();
}

Status TextWriter::function(const MessageView& f, int depth) {
  bool first = true;
  for (uint32_t field : {10, 13, 9, 8}) {
    if (!f.has(field)) continue;
    out_ += first ? "<\n   " : ",\n   ";
    first = false;
    out_ += kFunctionProto.find(field)->name;
    out_ += ": ";
    if (field == 9)
      TRY(opsets(f, field));
    else
      quote(f.text(field));
  }
  if (!first) out_ += "\n>\n";
  name(f.text(1));
  out_.push_back(' ');
  if (f.has(6) || f.has(11)) {
    out_.push_back('<');
    names(f, 6);
    bool alone = !f.has(6);
    for (const WireField& a : f.all(11)) {
      TRY_ASSIGN(const MessageView v, view(kAttributeProto, a));
      separate(alone);
      TRY(attribute(v, depth + 1));
    }
    out_ += "> ";
  }
  out_.push_back('(');
  names(f, 4);
  out_ += ") => (";
  names(f, 5);
  out_.push_back(')');
  if (f.has(12)) TRY(value_infos(f, 12, " <", ">", depth));
  line();
  return nodes(f.all(7), *kFunctionProto.find(7), depth);
}

Result<std::string> wire_to_text(std::string_view wire) {
  TextWriter w(wire);
  TRY(w.model(wire));
  return w.take();
}

}  // namespace onnxtool
