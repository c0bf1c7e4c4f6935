// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/onnx/message_view.h"

namespace onnxtool {

const EnumValue* enum_value(const FieldDesc& d, uint64_t bits) {
  for (const EnumValue& v : d.values)
    if (v.number == static_cast<int32_t>(bits)) return &v;
  return nullptr;
}

Result<MessageView> MessageView::of(const MessageDesc& desc, const MessageParts& parts,
                                    const std::byte* base) {
  MessageView view;
  view.desc_ = &desc;
  view.base_ = base;
  view.fields_.resize(desc.fields.size());
  for (std::string_view part : parts) {
    TRY(for_each_field(reinterpret_cast<const std::byte*>(part.data()), part.size(), base,
                       [&](const WireField& f) -> Status {
                         const FieldDesc* d = desc.find(f.number);
                         if (d == nullptr || !wire_type_fits(*d, f.type)) return ok();
                         if (d->kind == FieldKind::kEnum && enum_value(*d, f.bits) == nullptr)
                           return ok();
                         auto& found = view.fields_[static_cast<size_t>(d - desc.fields.data())];
                         if (in_oneof(desc, f.number))
                           for (size_t i = 0; i < view.fields_.size(); ++i)
                             if (&view.fields_[i] != &found &&
                                 in_oneof(desc, desc.fields[i].number))
                               view.fields_[i].clear();
                         if (!d->repeated && d->kind != FieldKind::kMessage) found.clear();
                         if (d->repeated && f.type != WireType::kBytes && !found.empty() &&
                             found.back().end == f.start && found.back().type == f.type) {
                           found.back().end = f.end;  // numbers one after the other are one entry
                           return ok();
                         }
                         found.push_back(f);
                         return ok();
                       }));
  }
  return view;
}

std::span<const WireField> MessageView::all(uint32_t number) const {
  for (size_t i = 0; i < fields_.size(); ++i)
    if (desc_->fields[i].number == number) return fields_[i];
  return {};
}

MessageParts MessageView::parts(uint32_t number) const {
  MessageParts parts;
  for (const WireField& f : all(number)) parts.push_back(f.view());
  return parts;
}

Result<MessageView> MessageView::message(uint32_t number) const {
  return of(*desc_->find(number)->message, parts(number), base_);
}

}  // namespace onnxtool
