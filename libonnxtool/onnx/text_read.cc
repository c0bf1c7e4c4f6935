// SPDX-License-Identifier: Apache-2.0
// Text form, read: models, graphs, functions and nodes.
#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/text_reader.h"

namespace onnxtool {

Status TextReader::begin(uint32_t field) {
  if (out_.depth() >= kMaxNesting)
    return unsupported(in_.fail(format("messages nested more than {} deep", kMaxNesting)).message);
  out_.begin(field);
  return ok();
}

Result<std::string> TextReader::model() {
  if (in_.match('<')) TRY(model_header());
  TRY(begin(7));
  TRY_ASSIGN(std::string name, in_.name("the name of a graph"));
  TRY(graph(std::move(name)));
  out_.end();
  while (!in_.at_end()) {
    TRY(begin(25));
    TRY(function());
    out_.end();
  }
  return out_.take();
}

Status TextReader::model_header() {
  do {
    TRY_ASSIGN(const std::string key, in_.identifier("a key of the model"));
    static constexpr struct {
      const char* key;
      uint32_t field;
      bool text;
    } kKeys[] = {{"ir_version", 1, false},      {"producer_name", 2, true},
                 {"producer_version", 3, true}, {"domain", 4, true},
                 {"model_version", 5, false},   {"doc_string", 6, true}};
    TRY(in_.expect(':'));
    if (key == "opset_import") {
      TRY(opsets(8));
      continue;
    }
    if (key == "metadata_props") {
      TRY(in_.expect('['));
      TRY(pairs(14));
      continue;
    }
    bool found = false;
    for (const auto& k : kKeys) {
      if (key != k.key) continue;
      found = true;
      if (k.text) {
        TRY_ASSIGN(const std::string value, in_.string("a string"));
        out_.bytes(k.field, value);
      } else {
        TRY_ASSIGN(const int64_t value, in_.integer());
        out_.varint(k.field, static_cast<uint64_t>(value));
      }
    }
    if (!found) return in_.wrong(format("a model has no key {}", quoted(key)));
  } while (in_.match(','));
  return in_.expect('>');
}

Status TextReader::opsets(uint32_t field) {
  TRY(in_.expect('['));
  if (in_.match(']')) return ok();
  do {
    TRY(begin(field));
    TRY_ASSIGN(const std::string domain, in_.string("a domain in quotes"));
    TRY(in_.expect(':'));
    TRY_ASSIGN(const int64_t version, in_.integer());
    out_.bytes(1, domain);
    out_.varint(2, static_cast<uint64_t>(version));
    out_.end();
  } while (in_.match(','));
  return in_.expect(']');
}

// After '[': "key": "value", ... ]
Status TextReader::pairs(uint32_t field) {
  if (in_.match(']')) return ok();
  do {
    TRY(begin(field));
    TRY_ASSIGN(const std::string key, in_.string("a key in quotes"));
    TRY(in_.expect(':'));
    TRY_ASSIGN(const std::string value, in_.string("a value in quotes"));
    out_.bytes(1, key);
    out_.bytes(2, value);
    out_.end();
  } while (in_.match(','));
  return in_.expect(']');
}

Status TextReader::typed_name(TextType& t, bool& typed, std::string& name) {
  typed = at_type();
  if (typed) TRY(type(t));
  TRY_ASSIGN(name, in_.name(typed ? "a name" : "a type or a name"));
  return ok();
}

Status TextReader::value_info(uint32_t field, const TextType* t, std::string_view name) {
  TRY(begin(field));
  out_.bytes(1, name);
  if (t != nullptr) out_.bytes(2, t->wire);
  out_.end();
  return ok();
}

Status TextReader::graph(std::string name) {
  out_.bytes(2, name);
  TRY(graph_inputs());
  TRY(in_.expect_arrow());
  TRY(value_infos(12, '(', ')'));
  TRY(values_and_initializers());
  return nodes(1);
}

// (float[N] x, float y = {1}): a default is an initializer of the same name.
Status TextReader::graph_inputs() {
  TRY(in_.expect('('));
  if (in_.match(')')) return ok();
  do {
    TextType t;
    bool typed = false;
    std::string name;
    TRY(typed_name(t, typed, name));
    TRY(value_info(11, typed ? &t : nullptr, name));
    if (in_.match('=')) {
      TRY(begin(5));
      TRY(tensor(t, name));
      out_.end();
    }
  } while (in_.match(','));
  return in_.expect(')');
}

Status TextReader::value_infos(uint32_t field, char open, char close) {
  TRY(in_.expect(open));
  if (in_.match(close)) return ok();
  do {
    TextType t;
    bool typed = false;
    std::string name;
    TRY(typed_name(t, typed, name));
    TRY(value_info(field, typed ? &t : nullptr, name));
  } while (in_.match(','));
  return in_.expect(close);
}

// <float[2] w = {1, 2}, float[N] hidden>: initializers and types of inner values.
Status TextReader::values_and_initializers() {
  if (!in_.match('<')) return ok();
  if (in_.match('>')) return ok();
  do {
    TextType t;
    bool typed = false;
    std::string name;
    TRY(typed_name(t, typed, name));
    if (in_.match('=')) {
      TRY(begin(5));
      TRY(tensor(t, name));
      out_.end();
    } else {
      TRY(value_info(13, typed ? &t : nullptr, name));
    }
  } while (in_.match(','));
  return in_.expect('>');
}

Status TextReader::nodes(uint32_t field) {
  TRY(in_.expect('{'));
  while (!in_.match('}')) {
    if (in_.at_end()) return in_.expected("'}'");
    TRY(begin(field));
    TRY(node());
    out_.end();
  }
  return ok();
}

Status TextReader::node() {
  if (in_.match('[')) {
    std::string label;
    if (in_.peek() != ']') {
      TRY_ASSIGN(label, in_.name("the name of a node"));
    }
    TRY(in_.expect(']'));
    out_.bytes(3, label);
  }
  TRY(names(2));
  TRY(in_.expect('='));
  TRY(operator_name());
  size_t count = 0;
  TRY(attributes(count));
  TRY(in_.expect('('));
  TRY(names(1));
  TRY(in_.expect(')'));
  if (count == 0) TRY(attributes(count));
  return ok();
}

// domain.of.several.parts.Op:overload; all but the last part are the domain.
Status TextReader::operator_name() {
  std::string domain;
  TRY_ASSIGN(std::string op, in_.name("the type of an operator"));
  bool first = true;
  while (in_.match('.')) {
    if (!first) domain += '.';
    first = false;
    domain += op;
    TRY_ASSIGN(op, in_.name("the type of an operator"));
  }
  out_.bytes(4, op);
  if (!domain.empty()) out_.bytes(7, domain);
  if (in_.match(':')) {
    TRY_ASSIGN(const std::string overload, in_.name("an overload"));
    out_.bytes(8, overload);
  }
  return ok();
}

// Names between commas. One left out before a comma is empty, as is ""; after the last comma
// there need not be one.
Status TextReader::names(uint32_t field) {
  for (;;) {
    std::string name;
    if (in_.peek() == '"') {
      TRY_ASSIGN(name, in_.string("a name"));
    } else {
      name = in_.identifier_or_none();
      if (name.empty() && in_.peek() != ',') return ok();
    }
    out_.bytes(field, name);
    if (!in_.match(',')) return ok();
  }
}

Status TextReader::function() {
  if (in_.match('<')) TRY(function_header());
  TRY_ASSIGN(const std::string name, in_.name("the name of a function"));
  out_.bytes(1, name);
  if (in_.match('<')) TRY(function_attributes());
  TRY(function_values(4));
  TRY(in_.expect_arrow());
  TRY(function_values(5));
  if (in_.peek() == '<') TRY(value_infos(12, '<', '>'));
  return nodes(7);
}

Status TextReader::function_header() {
  do {
    TRY_ASSIGN(const std::string key, in_.identifier("a key of a function"));
    TRY(in_.expect(':'));
    if (key == "opset_import") {
      TRY(opsets(9));
      continue;
    }
    const uint32_t field = key == "domain"       ? 10
                           : key == "overload"   ? 13
                           : key == "doc_string" ? 8
                                                 : 0;
    if (field == 0) return in_.wrong(format("a function has no key {}", quoted(key)));
    TRY_ASSIGN(const std::string value, in_.string("a string"));
    out_.bytes(field, value);
  } while (in_.match(','));
  return in_.expect('>');
}

// After '<': names of attributes without a default, whole attributes with one.
Status TextReader::function_attributes() {
  do {
    TRY_ASSIGN(std::string name, in_.name("the name of an attribute"));
    if (in_.peek() != ':' && in_.peek() != '=') {
      out_.bytes(6, name);
      continue;
    }
    TRY(begin(11));
    TRY(attribute_after(std::move(name)));
    out_.end();
  } while (in_.match(','));
  return in_.expect('>');
}

Status TextReader::function_values(uint32_t field) {
  TRY(in_.expect('('));
  if (in_.match(')')) return ok();
  do {
    TextType t;
    bool typed = false;
    std::string name;
    TRY(typed_name(t, typed, name));
    out_.bytes(field, name);
    if (typed) TRY(value_info(12, &t, name));
  } while (in_.match(','));
  return in_.expect(')');
}

Result<std::string> text_to_wire(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return TextReader(text).model();
}

}  // namespace onnxtool
