// SPDX-License-Identifier: Apache-2.0
// Rewrite rules of the user's own, as data: the local functions of a model. A function of domain
// "pattern" says what is looked for, the function of the same name, inputs and outputs in domain
// "replacement" what takes its place. The runner checks their edits like those of any pass.
//
// In a pattern an input stands for any value (the same one wherever it stands), an attribute of
// the function for any attribute value (@name), a Constant for a constant of that type and content
// (one element: of any rank; reals within 1e-5). An attribute that a pattern leaves out must have
// its default. Operands of commutative operators match in either order.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "libonnxtool/rewrite/pass.h"

namespace onnxtool {

struct RuleSet {
  std::shared_ptr<const Model> model;
  std::vector<OpsetImport> imports;           // of the replacements
  std::deque<std::string> names;              // that the passes' names are views of
  std::vector<std::unique_ptr<Pass>> passes;  // in the order of the patterns
};

// kInvalid, kUnsupported: no rules, or one that could not be applied, with the reason.
Result<RuleSet> rules_of(std::shared_ptr<const Model> model);

}  // namespace onnxtool
