// SPDX-License-Identifier: Apache-2.0
// Storage, interning and the canonical order of Dim expressions (dim_table.h).
#include "libonnxtool/ir/dim_table.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "libonnxtool/base/checked.h"

namespace onnxtool {
namespace {

constexpr size_t kChunk = 1024;

struct Storage {
  std::array<std::atomic<DimEntry*>, DimTable::kMaxEntries / kChunk> chunks{};
  std::mutex mutex;    // guards what follows
  uint32_t count = 1;  // handle 0 means "none"
  std::unordered_multimap<size_t, uint32_t> ids;
  std::unordered_map<std::string, uint64_t> next_suffix;
};

Storage& storage() {
  static Storage* s = new Storage;  // lives as long as the process: handles may sit in statics
  return *s;
}

size_t mix(size_t h, size_t v) {
  h ^= v + 0x9E3779B97F4A7C15ull + (h << 6) + (h >> 2);
  return h * 0xff51afd7ed558ccdull;
}

size_t hash_of(const DimEntry& e) {
  size_t h = mix(0, static_cast<size_t>(e.kind));
  h = mix(h, std::hash<std::string>()(e.name));
  for (Dim d : e.args) h = mix(h, d.hash());
  for (const DimTerm& t : e.poly) {
    h = mix(h, static_cast<size_t>(t.coef));
    for (uint32_t a : t.atoms) h = mix(h, a);
  }
  return h;
}

bool equal(const DimEntry& a, const DimEntry& b) {
  if (a.kind != b.kind || a.name != b.name || a.args.size() != b.args.size() ||
      a.poly.size() != b.poly.size())
    return false;
  for (size_t i = 0; i < a.args.size(); ++i)
    if (!(a.args[i] == b.args[i])) return false;
  for (size_t i = 0; i < a.poly.size(); ++i)
    if (a.poly[i].coef != b.poly[i].coef || a.poly[i].atoms != b.poly[i].atoms) return false;
  return true;
}

uint32_t find_locked(const Storage& s, size_t hash, const DimEntry& e) {
  auto [first, last] = s.ids.equal_range(hash);
  for (; first != last; ++first)
    if (equal(DimTable::entry(first->second), e)) return first->second;
  return 0;
}

uint32_t insert_locked(Storage& s, size_t hash, DimEntry e) {
  if (s.count >= DimTable::kMaxEntries) return 0;
  std::atomic<DimEntry*>& chunk = s.chunks[s.count / kChunk];
  DimEntry* entries = chunk.load(std::memory_order_relaxed);
  bool first = entries == nullptr;
  if (first) entries = new DimEntry[kChunk];
  entries[s.count % kChunk] = std::move(e);
  if (first) chunk.store(entries, std::memory_order_release);
  s.ids.emplace(hash, s.count);
  return s.count++;
}

// Handle of the entry; 0 when the table is full. Range and sizes are part of the entry's content
// only, so they are computed before.
uint32_t intern(DimEntry e) {
  size_t hash = hash_of(e);
  Storage& s = storage();
  std::lock_guard lock(s.mutex);
  if (uint32_t found = find_locked(s, hash, e)) return found;
  return insert_locked(s, hash, std::move(e));
}

int sign(int64_t a, int64_t b) { return a < b ? -1 : a > b ? 1 : 0; }

// Depth and weight of an atom's or a polynomial's parts; false when over the limits.
bool measure(DimEntry& e) {
  uint64_t weight = 1;
  auto part = [&](uint32_t id) {
    const DimEntry& p = DimTable::entry(id);
    e.depth = std::max(e.depth, p.depth + (e.kind == DimKind::kPoly ? 0 : 1));
    weight += p.weight;
  };
  for (Dim d : e.args)
    if (d.is_const())
      weight++;
    else
      part(DimTable::id(d));
  for (const DimTerm& t : e.poly) {
    if (t.atoms.size() > DimTable::kMaxDegree) return false;
    weight++;
    for (uint32_t a : t.atoms) part(a);
  }
  if (weight > DimTable::kMaxWeight || e.depth > DimTable::kMaxDepth) return false;
  e.weight = static_cast<uint32_t>(weight);
  return true;
}

DimRange atom_range(DimKind kind, const std::vector<Dim>& args) {
  DimRange r = range_of(args[0]);
  if (kind == DimKind::kMin || kind == DimKind::kMax) {
    for (Dim d : args) {
      DimRange b = range_of(d);
      auto pick = [&](int64_t x, int64_t y) {
        return kind == DimKind::kMin ? std::min(x, y) : std::max(x, y);
      };
      r = {pick(r.lo, b.lo), pick(r.hi, b.hi)};
    }
    return r;
  }
  // floor(a / b): only for b >= 1, where it grows with a. Division by a larger b moves the result
  // towards 0 (or -1), so the smallest divisor gives the extremes of both signs.
  DimRange b = range_of(args[1]);
  if (b.lo < 0) return {};
  int64_t least = std::max<int64_t>(b.lo, 1);  // a divisor is never 0
  int64_t most = std::max<int64_t>(b.hi, 1);
  bool open = b.hi == INT64_MAX;
  DimRange q;
  if (r.lo != INT64_MIN) {
    if (r.lo < 0)
      q.lo = floor_div(r.lo, least);
    else
      q.lo = open ? 0 : floor_div(r.lo, most);
  }
  if (r.hi != INT64_MAX) {
    if (r.hi >= 0)
      q.hi = floor_div(r.hi, least);
    else
      q.hi = open ? -1 : floor_div(r.hi, most);
  }
  return q;
}

}  // namespace

Dim DimTable::handle(uint32_t id) {
  Dim d;
  d.expr_ = id;
  return d;
}

const DimEntry& DimTable::entry(uint32_t id) {
  return storage().chunks[id / kChunk].load(std::memory_order_acquire)[id % kChunk];
}

Dim DimTable::symbol(std::string_view name, bool fresh) {
  DimEntry e;
  e.name = name;
  e.range = {0, INT64_MAX};
  if (!fresh) return handle(intern(std::move(e)));
  Storage& s = storage();
  std::lock_guard lock(s.mutex);
  uint64_t& next = s.next_suffix[e.name];
  for (;; ++next) {
    if (next > 0) e.name = std::string(name) + "_" + std::to_string(next);
    size_t hash = hash_of(e);
    if (find_locked(s, hash, e)) continue;
    ++next;
    return handle(insert_locked(s, hash, std::move(e)));
  }
}

Dim DimTable::atom(DimKind kind, std::vector<Dim> args) {
  DimEntry e;
  e.kind = kind;
  e.args = std::move(args);
  if (!measure(e)) return {};
  e.range = atom_range(kind, e.args);
  if (e.range.lo == e.range.hi) return e.range.lo;
  return handle(intern(std::move(e)));
}

Dim DimTable::of(std::optional<DimPoly> p) {
  if (!p || p->size() > kMaxTerms) return {};
  if (p->empty()) return 0;
  if (p->size() == 1) {
    const DimTerm& t = p->front();
    if (t.atoms.empty()) return t.coef;
    if (t.coef == 1 && t.atoms.size() == 1) return handle(t.atoms[0]);
  }
  DimEntry e;
  e.kind = DimKind::kPoly;
  e.poly = std::move(*p);
  if (!measure(e)) return {};
  e.range = range_of(e.poly);
  if (e.range.lo == e.range.hi) return e.range.lo;
  return handle(intern(std::move(e)));
}

DimPoly DimTable::poly(Dim d) {
  if (d.is_const()) return d.value() == 0 ? DimPoly{} : DimPoly{{d.value(), {}}};
  const DimEntry& e = entry(d);
  return e.kind == DimKind::kPoly ? e.poly : DimPoly{{1, {id(d)}}};
}

int compare_monomials(const DimTerm& a, const DimTerm& b) {
  if (int c = sign(static_cast<int64_t>(a.atoms.size()), static_cast<int64_t>(b.atoms.size())))
    return c;
  for (size_t i = 0; i < a.atoms.size(); ++i)
    if (a.atoms[i] != b.atoms[i]) return compare_atoms(b.atoms[i], a.atoms[i]);
  return 0;
}

int compare_dims(Dim a, Dim b) {
  if (a == b) return 0;
  if (a.is_const() || b.is_const()) {
    if (a.is_const() && b.is_const()) return sign(a.value(), b.value());
    return a.is_const() ? 1 : -1;  // constants last
  }
  DimPoly p = DimTable::poly(a), q = DimTable::poly(b);
  for (size_t i = 0; i < std::min(p.size(), q.size()); ++i) {
    if (int c = compare_monomials(q[i], p[i])) return c;
    if (int c = sign(p[i].coef, q[i].coef)) return c;
  }
  return sign(static_cast<int64_t>(p.size()), static_cast<int64_t>(q.size()));
}

int compare_atoms(uint32_t a, uint32_t b) {
  if (a == b) return 0;
  const DimEntry& x = DimTable::entry(a);
  const DimEntry& y = DimTable::entry(b);
  if (x.kind != y.kind) return x.kind < y.kind ? -1 : 1;
  if (x.kind == DimKind::kSymbol) return x.name.compare(y.name) < 0 ? -1 : 1;
  for (size_t i = 0; i < std::min(x.args.size(), y.args.size()); ++i)
    if (int c = compare_dims(x.args[i], y.args[i])) return c;
  return x.args.size() < y.args.size() ? -1 : 1;
}

}  // namespace onnxtool
