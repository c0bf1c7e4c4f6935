// SPDX-License-Identifier: Apache-2.0
// A finding about a model: what a rule of the verifier or of inference has to say, and where.
// Rules have stable codes: E1xx structure, E2xx operators, E3xx tensors, E4xx functions,
// E5xx types and shapes; W the same, where the model can still be used.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "libonnxtool/base/error.h"
#include "libonnxtool/ir/model.h"

namespace onnxtool {

enum class Severity : uint8_t { kNote, kWarning, kError };
const char* severity_name(Severity s);  // "note", "warning", "error"

struct Rule {
  const char* code;  // "E101"
  const char* name;  // "duplicate-name"
  Severity severity;
  const char* explanation;  // one or two sentences, with the part of the specification
};

// All rules by ascending code.
std::span<const Rule> all_rules();
const Rule* find_rule(std::string_view code_or_name);

struct Finding {
  const Rule* rule = nullptr;
  Severity severity = Severity::kError;  // the rule's, or raised by a strict run
  std::string message;                   // what is wrong, without where
  std::string where;  // "node 'conv1' (Conv) in function 'f'"; empty: the model as a whole
  GraphId graph;
  NodeId node;
  ValueId value;

  std::string text() const;  // "E101: where: message"
};

// The error with which an operation ends that cannot go on after this finding.
Error to_error(const Finding& f);

}  // namespace onnxtool
