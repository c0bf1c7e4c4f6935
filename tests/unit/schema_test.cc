// SPDX-License-Identifier: Apache-2.0
// Schema tables: known facts of the standard, lookup by version, and what schema.h promises.
#include "libonnxtool/ops/schema.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <tuple>

using namespace onnxtool;

namespace {

uint32_t mask(std::initializer_list<DType> types) {
  uint32_t m = 0;
  for (DType t : types) m |= 1U << static_cast<unsigned>(t);
  return m;
}

int version(std::string_view domain, std::string_view name, int64_t opset) {
  const Schema* s = find_schema(domain, name, opset);
  return s == nullptr ? 0 : s->since_version;
}

std::vector<int> versions(std::string_view domain, std::string_view name) {
  std::vector<int> out;
  for (const Schema* s : schema_versions(domain, name)) out.push_back(s->since_version);
  return out;
}

std::string default_of(std::string_view domain, std::string_view name, int64_t opset,
                       std::string_view attr) {
  const Schema* s = find_schema(domain, name, opset);
  REQUIRE(s != nullptr);
  const AttrSpec* a = s->attr(attr);
  REQUIRE(a != nullptr);
  return a->default_text == nullptr ? "(none)" : a->default_text;
}

}  // namespace

TEST_CASE("the newest version up to the opset is found") {
  CHECK(version("", "Conv", 28) == 22);
  CHECK(version("", "Conv", 21) == 11);
  CHECK(version("", "Conv", 10) == 1);
  CHECK(version("", "Conv", 0) == 0);
  CHECK(version("", "Conv", -1) == 0);
  CHECK(version("", "Conv", INT64_MAX) == 22);
  CHECK(version("ai.onnx", "Conv", 13) == 11);
  CHECK(version("", "Gelu", 19) == 0);
  CHECK(version("", "Gelu", 20) == 20);
  CHECK(version("", "Cast", 28) == 28);
  CHECK(version("", "NoSuchOperator", 28) == 0);
  CHECK(version("", "", 28) == 0);
  CHECK(version("no.such.domain", "Conv", 28) == 0);
  CHECK(version("ai.onnx.ml", "TreeEnsemble", 5) == 5);
  CHECK(version("ai.onnx.ml", "TreeEnsemble", 4) == 0);
  CHECK(version("ai.onnx.ml", "LabelEncoder", 3) == 2);
  CHECK(version("ai.onnx.preview", "FlexAttention", 1) == 1);
  CHECK(version("ai.onnx.preview.training", "Adam", 1) == 1);
  CHECK(version("com.microsoft", "MatMulNBits", 1) == 1);
  CHECK(version("com.microsoft", "Gelu", 1) == 1);

  CHECK(versions("", "Softmax") == std::vector<int>{1, 11, 13});
  CHECK(versions("", "If") == std::vector<int>{1, 11, 13, 16, 19, 21, 23, 24, 25});
  CHECK(versions("ai.onnx", "Clip") == std::vector<int>{1, 6, 11, 12, 13});
  CHECK(versions("ai.onnx.ml", "LabelEncoder") == std::vector<int>{1, 2, 4});
  CHECK(versions("", "NoSuchOperator").empty());
}

TEST_CASE("domains and their newest operator sets") {
  CHECK(newest_opset("") == 28);
  CHECK(newest_opset("ai.onnx") == 28);
  CHECK(newest_opset("ai.onnx.ml") == 5);
  CHECK(newest_opset("ai.onnx.preview") == 1);
  CHECK(newest_opset("ai.onnx.preview.training") == 1);
  CHECK(newest_opset("com.microsoft") == 1);
  CHECK(newest_opset("com.example") == 0);
  CHECK(canonical_domain("ai.onnx").empty());
  CHECK(canonical_domain("ai.onnx.ml") == "ai.onnx.ml");

  std::map<std::string, std::set<std::string>> operators;
  std::map<std::string, int> schemas;
  for (const Schema& s : official_schemas()) {
    operators[s.domain].insert(s.name);
    ++schemas[s.domain];
  }
  CHECK(schemas[""] == 629);
  CHECK(operators[""].size() == 203);
  CHECK(schemas["ai.onnx.ml"] == 25);
  CHECK(operators["ai.onnx.ml"].size() == 19);
  CHECK(schemas["ai.onnx.preview"] == 1);
  CHECK(schemas["ai.onnx.preview.training"] == 4);
  CHECK(official_schemas().size() == 659);
}

TEST_CASE("operators outside the standard are told apart") {
  CHECK(is_official(*find_schema("", "Conv", 13)));
  CHECK_FALSE(is_official(*find_schema("com.microsoft", "FusedConv", 1)));
  const Schema* s = find_schema("", "SimplifiedLayerNormalization", 17);
  REQUIRE(s != nullptr);
  CHECK_FALSE(is_official(*s));
  CHECK(s->since_version == 1);

  for (const char* name : {"Attention",
                           "BiasGelu",
                           "CropAndResize",
                           "DequantizeLinear",
                           "DynamicQuantizeLSTM",
                           "DynamicQuantizeMatMul",
                           "EmbedLayerNormalization",
                           "FastGelu",
                           "FusedConv",
                           "FusedGemm",
                           "FusedMatMul",
                           "Gelu",
                           "GridSample",
                           "GroupQueryAttention",
                           "Inverse",
                           "MatMulIntegerToFloat",
                           "MatMulNBits",
                           "MultiHeadAttention",
                           "NhwcConv",
                           "QGemm",
                           "QLinearAdd",
                           "QLinearAveragePool",
                           "QLinearConcat",
                           "QLinearGlobalAveragePool",
                           "QLinearLeakyRelu",
                           "QLinearMul",
                           "QLinearSigmoid",
                           "QLinearSoftmax",
                           "QLinearWhere",
                           "QuantizeLinear",
                           "QuickGelu",
                           "Range",
                           "RotaryEmbedding",
                           "SkipLayerNormalization",
                           "SkipSimplifiedLayerNormalization",
                           "Tokenizer",
                           "Trilu",
                           "Unique"}) {
    INFO(name);
    CHECK(version("com.microsoft", name, 1) == 1);
  }
  const Schema* qgemm = find_schema("com.microsoft", "QGemm", 1);
  CHECK(qgemm->min_inputs == 6);
  CHECK(qgemm->max_inputs == 9);
  const Schema* nbits = find_schema("com.microsoft", "MatMulNBits", 1);
  CHECK(nbits->attr("K")->required);
  CHECK(nbits->attr("block_size")->required);
  CHECK(default_of("com.microsoft", "MatMulNBits", 1, "bits") == "4");
  CHECK(default_of("com.microsoft", "FusedConv", 1, "auto_pad") == "NOTSET");
  CHECK(default_of("com.microsoft", "FusedConv", 1, "activation") == "(none)");
}

TEST_CASE("parameters") {
  const Schema* conv = find_schema("", "Conv", 13);
  REQUIRE(conv->inputs.size() == 3);
  CHECK(std::string(conv->inputs[0].name) == "X");
  CHECK(std::string(conv->inputs[2].name) == "B");
  CHECK(conv->inputs[0].option == ParamOption::kSingle);
  CHECK(conv->inputs[2].option == ParamOption::kOptional);
  CHECK(conv->min_inputs == 2);
  CHECK(conv->max_inputs == 3);
  CHECK(conv->min_outputs == 1);
  CHECK(conv->max_outputs == 1);
  CHECK(conv->input(2) == &conv->inputs[2]);
  CHECK(conv->input(3) == nullptr);
  CHECK(conv->output(1) == nullptr);

  const Schema* loop = find_schema("", "Loop", 28);
  CHECK(loop->max_inputs == kUnlimited);
  CHECK(loop->min_inputs == 2);
  CHECK(loop->input(100) == &loop->inputs[2]);
  CHECK(loop->inputs[2].option == ParamOption::kVariadic);
  CHECK_FALSE(loop->inputs[2].homogeneous);
  CHECK(find_schema("", "Concat", 13)->inputs[0].homogeneous);
  CHECK(find_schema("", "Constant", 13)->input(0) == nullptr);
  CHECK(find_schema("", "LSTM", 22)->min_outputs == 0);
}

TEST_CASE("attributes and their defaults") {
  const Schema* conv = find_schema("", "Conv", 13);
  CHECK(conv->attrs.size() == 6);
  CHECK(conv->attr("group")->kind == AttrType::kInt);
  CHECK(conv->attr("pads")->kind == AttrType::kInts);
  CHECK(conv->attr("nothing") == nullptr);
  CHECK(default_of("", "Conv", 13, "group") == "1");
  CHECK(default_of("", "Conv", 13, "auto_pad") == "NOTSET");
  CHECK(default_of("", "Conv", 13, "strides") == "(none)");
  CHECK(default_of("", "Clip", 6, "max") == "3.4028235e+38");
  CHECK(default_of("", "Selu", 6, "alpha") == "1.6732632");
  CHECK(default_of("", "LeakyRelu", 16, "alpha") == "0.01");
  CHECK(default_of("", "BatchNormalization", 15, "epsilon") == "1e-05");
  CHECK(default_of("", "Softmax", 11, "axis") == "1");
  CHECK(default_of("", "Softmax", 13, "axis") == "-1");
  CHECK(default_of("", "TfIdfVectorizer", 9, "weights") == "(none)");
  CHECK(default_of("ai.onnx.ml", "LabelEncoder", 4, "default_string") == "_Unused");
  CHECK(find_schema("", "Cast", 13)->attr("to")->required);
  CHECK(find_schema("", "If", 25)->attr("then_branch")->kind == AttrType::kGraph);
  CHECK(find_schema("", "If", 25)->attr("then_branch")->required);
  CHECK(find_schema("", "Constant", 13)->attr("sparse_value")->kind == AttrType::kSparseTensor);
  CHECK(find_schema("", "Optional", 15)->attr("type")->kind == AttrType::kTypeProto);
}

TEST_CASE("deprecated, random and function operators") {
  CHECK(find_schema("", "Upsample", 13)->deprecated);
  CHECK_FALSE(find_schema("", "Upsample", 9)->deprecated);
  CHECK(find_schema("", "Scatter", 11)->deprecated);
  CHECK(find_schema("", "GroupNormalization", 20)->deprecated);
  CHECK_FALSE(find_schema("", "GroupNormalization", 21)->deprecated);
  CHECK(find_schema("ai.onnx.ml", "TreeEnsembleRegressor", 5)->deprecated);

  for (const char* name :
       {"RandomNormal", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"})
    CHECK_FALSE(find_schema("", name, 28)->deterministic);
  for (const char* name : {"Conv", "If", "Loop", "AffineGrid", "DepthToSpace", "LinearAttention"})
    CHECK(find_schema("", name, 28)->deterministic);
  CHECK_FALSE(find_schema("com.microsoft", "BiasDropout", 1)->deterministic);
  CHECK(find_schema("com.microsoft", "MurmurHash3", 1)->deterministic);

  CHECK(find_schema("", "Clip", 13)->has_function);
  CHECK_FALSE(find_schema("", "Clip", 12)->has_function);
  CHECK(find_schema("", "Attention", 24)->has_function);
  CHECK_FALSE(find_schema("", "Conv", 22)->has_function);
}

TEST_CASE("types") {
  const Schema* conv = find_schema("", "Conv", 13);
  TypeSet floats = conv->types_of(conv->inputs[0]);
  CHECK(floats.tensor == mask({DType::kFloat, DType::kFloat16, DType::kDouble}));
  CHECK(floats.seq == 0);
  CHECK(floats.other == nullptr);
  CHECK(tensor_allowed(floats, DType::kFloat16));
  CHECK_FALSE(tensor_allowed(floats, DType::kBfloat16));
  CHECK(tensor_allowed(find_schema("", "Conv", 22)->constraint("T")->types, DType::kBfloat16));
  CHECK(type_strings(floats) ==
        std::vector<std::string>{"tensor(float)", "tensor(float16)", "tensor(double)"});

  const Schema* split = find_schema("", "Split", 13);
  CHECK(split->types_of(split->inputs[1]).tensor == mask({DType::kInt64}));
  CHECK(type_strings(find_schema("", "Loop", 28)->constraint("V")->types).size() == 94);
  CHECK(find_schema("", "Cast", 28)->constraint("T1")->types.tensor ==
        (0x1ffffffeU & ~mask({DType::kComplex64, DType::kComplex128})));

  const TypeSet& zip = find_schema("ai.onnx.ml", "ZipMap", 1)->constraint("T")->types;
  CHECK(type_allowed(zip, "seq(map(string, float))"));
  CHECK(type_allowed(zip, Type::sequence(Type::map(DType::kInt64, Type::tensor(DType::kFloat)))));
  CHECK_FALSE(type_allowed(zip, Type::sequence(Type::tensor(DType::kFloat))));
  CHECK_FALSE(type_allowed(zip, Type::map(DType::kInt64, Type::tensor(DType::kFloat))));
  CHECK(type_allowed(zip, Type::sequence(Type::unknown())));
  CHECK_FALSE(type_allowed(zip, Type::optional(Type::unknown())));
  CHECK(type_strings(zip) ==
        std::vector<std::string>{"seq(map(int64,float))", "seq(map(string,float))"});

  const TypeSet& sparse = find_schema("com.microsoft", "SparseToDenseMatMul", 1)->types[0].types;
  CHECK(type_allowed(sparse, "sparse_tensor(float)"));
  CHECK_FALSE(type_allowed(sparse, "tensor(float)"));
}

TEST_CASE("types that are partly unknown fit where any of their kind does") {
  const TypeSet& any = find_schema("", "Identity", 28)->constraint("V")->types;
  CHECK(type_allowed(any, Type::unknown()));
  CHECK(type_allowed(any, Type::tensor(DType::kUndefined)));
  CHECK(type_allowed(any, Type::optional(Type::sequence(Type::unknown()))));
  CHECK(type_allowed(any, Type::optional(Type::sequence(Type::tensor(DType::kFloat)))));
  CHECK_FALSE(type_allowed(any, Type::map(DType::kInt64, Type::unknown())));

  TypeSet text = parse_type_set("seq(tensor(string))");
  CHECK(text.seq == mask({DType::kString}));
  CHECK(text.tensor == 0);
  CHECK(type_allowed(text, Type::sequence(Type::tensor(DType::kUndefined))));
  CHECK_FALSE(type_allowed(text, Type::sequence(Type::tensor(DType::kFloat))));
  CHECK_FALSE(type_allowed(text, Type::tensor(DType::kUndefined)));
  CHECK_FALSE(type_allowed(text, "tensor(nonsense)"));
  CHECK(std::string(parse_type_set("map(int64,float)").other) == "map(int64,float)");

  CHECK(type_string(Type::tensor(DType::kFloat8e4m3fn)) == "tensor(float8e4m3fn)");
  CHECK(type_string(Type::optional(Type::sequence(Type::tensor(DType::kBool)))) ==
        "optional(seq(tensor(bool)))");
  CHECK(type_string(Type::map(DType::kString, Type::tensor(DType::kInt64))) == "map(string,int64)");
  Type deep = Type::tensor(DType::kFloat);
  for (int i = 0; i < 100; ++i) deep = Type::sequence(std::move(deep));
  CHECK(type_string(deep) == "seq(seq(seq(seq(seq(seq(seq(seq(?))))))))");
  CHECK_FALSE(type_allowed(any, deep));
}

TEST_CASE("every row is found by its own key and keeps the promises of the header") {
  for (auto table : {official_schemas(), contrib_schemas()}) {
    for (size_t i = 0; i < table.size(); ++i) {
      const Schema& s = table[i];
      INFO(s.domain << "." << s.name << " " << s.since_version);
      CHECK(find_schema(s.domain, s.name, s.since_version) == &s);
      if (i > 0)
        CHECK(std::tuple(std::string(table[i - 1].domain), std::string(table[i - 1].name),
                         table[i - 1].since_version) <
              std::tuple(std::string(s.domain), std::string(s.name), s.since_version));
      CHECK(s.min_inputs <= s.max_inputs);
      CHECK(s.min_outputs <= s.max_outputs);
      for (auto params : {s.inputs, s.outputs})
        for (const ParamSpec& p : params) {
          INFO(p.name);
          CHECK_FALSE(type_strings(s.types_of(p)).empty());
          for (const std::string& t : type_strings(s.types_of(p)))
            CHECK(type_allowed(s.types_of(p), t));
          if (&p != &params.back()) CHECK(p.option != ParamOption::kVariadic);
        }
      for (size_t a = 1; a < s.attrs.size(); ++a)
        CHECK(std::strcmp(s.attrs[a - 1].name, s.attrs[a].name) < 0);
    }
  }
}
