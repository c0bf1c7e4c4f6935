// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>

#include "libonnxtool/base/file_identity.h"
#include "libonnxtool/base/str.h"
#include "libonnxtool/onnx/forms.h"
#include "libonnxtool/onnx/load.h"
#include "libonnxtool/onnx/writer.h"

namespace onnxtool {
namespace {

// What other readers can hold in one protobuf message.
constexpr uint64_t kMessageLimit = (uint64_t{1} << 31) - 1;

bool ends_with(const std::string& s, std::string_view end) {
  return s.size() >= end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
}

std::string file_name_for(std::string_view tensor,
                          const std::map<std::string, std::vector<ExternalPlan::Item>>& taken) {
  std::string s;
  for (char c : tensor.substr(0, 100))
    s += std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ||
                 (c == '.' && !s.empty())
             ? c
             : '_';
  if (s.empty()) s = "tensor";
  std::string name = s;
  for (int k = 1; taken.count(name); ++k) name = format("{}_{}", s, k);
  return name;
}

Status write_rope(OutputFile& out, const Rope& rope) {
  return rope.for_each([&](const void* p, size_t n) { return out.write(p, n); });
}

}  // namespace

bool ExternalPlan::wants(const TensorConst& t) const {
  if (t.tensor.is_string() || !t.tensor.defined()) return false;
  switch (options_.external) {
    case ExternalData::kNone: return false;
    case ExternalData::kKeep: return t.external;
    default: return t.tensor.bytes() >= std::max<uint64_t>(options_.threshold, 1);
  }
}

bool ExternalPlan::wants_attributes(const Node& n) const {
  if (options_.external == ExternalData::kKeep || options_.external == ExternalData::kNone)
    return false;
  for (const Attribute& a : n.attrs)
    if (const auto* t = std::get_if<std::shared_ptr<const TensorConst>>(&a.value); t && wants(**t))
      return true;
  return false;
}

std::optional<ExternalRef> ExternalPlan::place(const TensorConst& t, std::string_view name) {
  if (!wants(t)) return std::nullopt;
  ExternalRef ref;
  if (options_.external == ExternalData::kThere) {
    const auto there = file_place(t.tensor.raw(), t.tensor.bytes());
    const std::string folder = options_.folder + "/";
    if (!there || there->path.rfind(folder, 0) != 0) {
      // A model that is named without its folder.
      if (!there || options_.folder != "." || there->path.find('/') != std::string::npos)
        return std::nullopt;
      ref.location = there->path;
    } else {
      ref.location = there->path.substr(folder.size());
    }
    if (!check_location(ref.location).ok()) return std::nullopt;
    ref.offset = there->offset;
    ref.length = t.tensor.bytes();
    return ref;
  }
  ref.location =
      options_.external == ExternalData::kMany ? file_name_for(name, files_) : data_name_;
  auto& items = files_[ref.location];
  const uint64_t end = items.empty() ? 0 : items.back().offset + items.back().data.size;
  const uint64_t align = std::max<uint64_t>(options_.alignment, 1);
  // Small tensors do not deserve a page each: they are aligned to 64 bytes.
  const uint64_t step = t.tensor.bytes() >= align ? align : std::min<uint64_t>(align, 64);
  ref.offset = (end + step - 1) / step * step;
  ref.length = t.tensor.bytes();
  items.push_back({ref.offset, {t.tensor.raw(), t.tensor.bytes(), t.tensor.owner()}});
  return ref;
}

ModelForm form_of_path(const std::string& path) {
  if (ends_with(path, ".json")) return ModelForm::kJson;
  if (ends_with(path, ".txt") || ends_with(path, ".onnxtxt")) return ModelForm::kText;
  return ModelForm::kBinary;
}

Result<Model> read_any(Bytes bytes, const std::string& path, const LoadOptions& options) {
  const std::string_view head = bytes.view().substr(0, 64);
  const size_t first = head.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  const char c = first == std::string_view::npos ? '\0' : head[first];
  // The first byte of a binary model is the tag of a field that ModelProto has: never '<', '#', '{'
  // before a quote, or a letter.
  const ModelForm by_name = form_of_path(path);
  const bool named_binary = ends_with(path, ".onnx");  // held to its name
  const auto wrong_name = [&](const char* form, const char* ending) {
    return invalid(
        format("not an ONNX protobuf file: it looks like {}, which is named {}", form, ending));
  };
  if (by_name == ModelForm::kJson && c == '{') return read_json_model(bytes, path, options);
  if (by_name == ModelForm::kText && c >= ' ') return read_text_model(bytes, path, options);
  if (c == '{' && (head.find('"') != std::string_view::npos || bytes.size <= 2))
    return named_binary ? Result<Model>(wrong_name("JSON", ".json"))
                        : read_json_model(bytes, path, options);
  if (c == '#' || (c == '<' && head.substr(first, 2) != "<!" && head.substr(first, 5) != "<?xml" &&
                   head.substr(first, 5) != "<html"))
    return named_binary ? Result<Model>(wrong_name("ONNX text", ".onnxtxt"))
                        : read_text_model(bytes, path, options);
  return read_model(std::move(bytes), path, options);
}

Result<Model> load_model(const std::string& path, const LoadOptions& options) {
  const bool pipe = path == "-";
  auto file = pipe ? MappedFile::read_stdin(options.stdin_limit) : MappedFile::open(path);
  if (!file.ok()) return std::move(file).error();
  const MappedFile& f = **file;
  auto r = read_any({f.data(), f.size(), *file}, pipe ? "" : path, options);
  if (!r.ok()) return std::move(r).context(pipe ? "standard input" : escape(path, 200));
  return r;
}

Result<std::string> model_bytes_beside(const Model& model, const std::string& folder) {
  SaveOptions options;
  options.external = ExternalData::kThere;
  options.folder = folder;
  ExternalPlan plan(options, "");
  TRY_ASSIGN(Rope rope, write_model(model, &plan));
  return rope.flat();
}

Status save_model(const Model& model, const std::string& path, const SaveOptions& options) {
  SaveOptions o = options;
  if (o.alignment == 0 || (o.alignment & (o.alignment - 1)) != 0 || o.alignment > (1u << 24))
    return usage_error(format("alignment {} is no power of two up to 16 MiB", o.alignment));
  const bool pipe = path == "-";
  const bool outside = o.external == ExternalData::kOne || o.external == ExternalData::kMany;
  if (outside && (pipe || o.form != ModelForm::kBinary))
    return usage_error(pipe ? "external data needs an output file, not standard output"
                            : "external data needs the binary form");
  if (o.form != ModelForm::kBinary) {
    TRY_ASSIGN(std::string text, o.form == ModelForm::kJson ? to_json(model) : to_text(model));
    if (pipe) return write_stdout(text.data(), text.size());
    TRY_ASSIGN(OutputFile out, OutputFile::create(path));
    TRY(out.write(text.data(), text.size()));
    return out.commit();
  }
  if (pipe) o.external = ExternalData::kNone;
  if (o.data_name.empty()) {
    o.data_name = base_name(path) + ".data";
    for (char& c : o.data_name)  // what may be a file's name, but no location
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\' || c == ':') c = '_';
  }
  if (auto s = check_location(o.data_name); !s.ok() || o.data_name.find('/') != std::string::npos)
    return usage_error(format("data file name {} must be a plain file name", quoted(o.data_name)));
  ExternalPlan plan(o, o.data_name);
  TRY_ASSIGN(Rope rope, write_model(model, &plan));
  if (pipe) {
    return rope.for_each([](const void* p, size_t n) { return write_stdout(p, n); });
  }
  if (rope.size() > kMessageLimit &&
      o.external == ExternalData::kKeep) {  // nobody else could read it
    o.external = ExternalData::kOne;
    return save_model(model, path, o);
  }
  const std::string folder = dir_name(path);
  // Data first, the model last: a model never points to data that is not there. All are written
  // before any is renamed.
  std::vector<OutputFile> outputs;
  for (const auto& [name, items] : plan.files()) {
    TRY_ASSIGN(OutputFile out, OutputFile::create(folder + "/" + name));
    for (const ExternalPlan::Item& item : items) {
      TRY(out.pad_to(item.offset));
      TRY(out.write(item.data.data, item.data.size));
    }
    outputs.push_back(std::move(out));
  }
  TRY_ASSIGN(OutputFile out, OutputFile::create(path));
  TRY(write_rope(out, rope));
  outputs.push_back(std::move(out));
  for (OutputFile& f : outputs) TRY(f.commit());
  return ok();
}

}  // namespace onnxtool
