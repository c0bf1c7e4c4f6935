// SPDX-License-Identifier: Apache-2.0
#include "libonnxtool/base/file.h"

#include "libonnxtool/base/file_identity.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>

#include "libonnxtool/base/str.h"

namespace onnxtool {
namespace {

std::string errno_text(int e) { return std::strerror(e); }

// Temporary files to unlink when a signal ends the process.
constexpr size_t kMaxTemps = 64;
std::array<std::atomic<const char*>, kMaxTemps> g_temps;

void on_signal(int sig) {
  for (auto& t : g_temps)
    if (const char* path = t.load()) ::unlink(path);
  std::signal(sig, SIG_DFL);
  std::raise(sig);
}

const char* remember(const std::string& path) {
  static const bool installed = [] {
    for (int sig : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction old {};
      if (::sigaction(sig, nullptr, &old) == 0 && old.sa_handler == SIG_DFL)
        std::signal(sig, on_signal);
    }
    return true;
  }();
  (void)installed;
  char* copy = ::strdup(path.c_str());
  for (auto& t : g_temps) {
    const char* none = nullptr;
    if (t.compare_exchange_strong(none, copy)) return copy;
  }
  ::free(copy);
  return nullptr;
}
void forget(const std::string& path) {
  for (auto& t : g_temps) {
    const char* p = t.load();
    if (p != nullptr && path == p && t.compare_exchange_strong(p, nullptr))
      ::free(const_cast<char*>(p));
  }
}

// All files that are mapped now, by their start. Large ones are kept open to be copied from.
constexpr size_t kKeptOpen = size_t{64} << 20;
struct Mapping {
  size_t size = 0;
  int fd = -1;
  std::string identity, path;
};
struct Mappings {
  std::mutex mutex;
  std::map<uintptr_t, Mapping> ranges;
  // The one that holds those bytes, and where it starts; null: none does.
  std::pair<const Mapping*, uintptr_t> find(uintptr_t at, size_t size) const {
    const auto next = ranges.upper_bound(at);
    if (next == ranges.begin()) return {};
    const auto& [start, mapping] = *std::prev(next);
    if (at + size > start + mapping.size) return {};
    return {&mapping, start};
  }
};
Mappings& mappings() {
  static Mappings m;
  return m;
}

std::string identity_of(const struct stat& st) {
  return format("{}:{}:{}:{}.{}:{}.{}", st.st_dev, st.st_ino, st.st_size, st.st_mtim.tv_sec,
                st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

}  // namespace

void release_pages(const void* data, size_t size) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto at = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (at + page - 1) / page * page, end = (at + size) / page * page;
  if (begin >= end) return;
  Mappings& m = mappings();
  const std::lock_guard lock(m.mutex);
  // The pages of a read-only mapping of a file are clean: dropping them loses nothing.
  if (m.find(at, size).first != nullptr)
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::string file_identity(const void* data) {
  Mappings& m = mappings();
  const std::lock_guard lock(m.mutex);
  const Mapping* mapping = m.find(reinterpret_cast<uintptr_t>(data), 1).first;
  return mapping ? mapping->identity : "";
}

std::optional<FilePlace> file_place(const void* data, size_t size) {
  const auto at = reinterpret_cast<uintptr_t>(data);
  Mappings& m = mappings();
  const std::lock_guard lock(m.mutex);
  const auto [mapping, start] = m.find(at, size);
  if (!mapping) return std::nullopt;
  return FilePlace{mapping->path, at - start};
}

std::string file_identity(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) ? identity_of(st) : "";
}

MappedFile::~MappedFile() {
  if (!mapped_) return;
  {
    Mappings& m = mappings();
    const std::lock_guard lock(m.mutex);
    const auto it = m.ranges.find(reinterpret_cast<uintptr_t>(data_));
    if (it->second.fd >= 0) ::close(it->second.fd);
    m.ranges.erase(it);
  }
  ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return invalid(format("cannot open {}: {}", quoted(path, 200), errno_text(errno)));
  return from_fd(fd, path);
}

Result<std::shared_ptr<const MappedFile>> MappedFile::from_fd(int fd, const std::string& shown) {
  struct Closer {
    int fd;
    ~Closer() {
      if (fd >= 0) ::close(fd);
    }
  } closer{fd};
  struct stat st {};
  if (::fstat(fd, &st) != 0)
    return invalid(format("cannot read {}: {}", quoted(shown, 200), errno_text(errno)));
  if (!S_ISREG(st.st_mode))
    return invalid(format("cannot read {}: {}", quoted(shown, 200),
                          S_ISDIR(st.st_mode)    ? "it is a folder"
                          : S_ISFIFO(st.st_mode) ? "it is a pipe; - reads standard input"
                                                 : "it is not a regular file"));
  std::shared_ptr<MappedFile> f(new MappedFile());
  f->size_ = static_cast<size_t>(st.st_size);
  if (f->size_ == 0) return std::shared_ptr<const MappedFile>(std::move(f));
  void* p = ::mmap(nullptr, f->size_, PROT_READ, MAP_PRIVATE, fd, 0);
  if (p == MAP_FAILED)
    return invalid(format("cannot map {}: {}", quoted(shown, 200), errno_text(errno)));
  f->data_ = static_cast<const std::byte*>(p);
  f->mapped_ = true;
  {
    Mappings& m = mappings();
    const std::lock_guard lock(m.mutex);
    const int kept = f->size_ >= kKeptOpen ? std::exchange(closer.fd, -1) : -1;
    m.ranges[reinterpret_cast<uintptr_t>(f->data_)] = {f->size_, kept, identity_of(st), shown};
  }
  return std::shared_ptr<const MappedFile>(std::move(f));
}

Result<std::shared_ptr<const MappedFile>> MappedFile::read_stdin(uint64_t limit) {
  std::shared_ptr<MappedFile> f(new MappedFile());
  size_t used = 0;
  for (;;) {
    if (f->buffer_.size() - used < (1u << 16))
      f->buffer_.resize(std::max<size_t>(1u << 16, used * 2));
    const ssize_t n = ::read(STDIN_FILENO, f->buffer_.data() + used, f->buffer_.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return invalid(format("cannot read standard input: {}", errno_text(errno)));
    if (n == 0) break;
    used += static_cast<size_t>(n);
    if (used > limit)
      return unsupported(format("standard input is larger than {}", human_bytes(limit)));
  }
  f->buffer_.resize(used);
  f->data_ = f->buffer_.data();
  f->size_ = used;
  return std::shared_ptr<const MappedFile>(std::move(f));
}

Result<OutputFile> OutputFile::create(const std::string& path) {
  OutputFile f;
  f.path_ = path;
  struct stat st {};
  const bool exists = ::stat(path.c_str(), &st) == 0;
  if (exists && S_ISDIR(st.st_mode))
    return output_error(format("cannot write {}: it is a folder", quoted(path, 200)));
  if (exists && !S_ISREG(st.st_mode)) {
    f.direct_ = true;
    f.fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    if (exists) {  // a symbolic link keeps pointing to the file that is replaced
      if (char* real = ::realpath(path.c_str(), nullptr)) {
        f.path_ = real;
        ::free(real);
      }
      if (::access(f.path_.c_str(), W_OK) != 0)
        return output_error(format("cannot write {}: {}", quoted(path, 200), errno_text(errno)));
    }
    f.temp_ = dir_name(f.path_) + "/." + base_name(f.path_).substr(0, 200) + ".XXXXXX";
    f.fd_ = ::mkostemp(f.temp_.data(), O_CLOEXEC);
    if (f.fd_ >= 0) {
      remember(f.temp_);
      mode_t mode = exists ? st.st_mode & 07777 : 0;
      if (!exists) {
        const mode_t mask = ::umask(0);
        ::umask(mask);
        mode = 0666 & ~mask;
      }
      (void)!::fchmod(f.fd_, mode);
    } else {
      f.temp_.clear();
    }
  }
  if (f.fd_ < 0)
    return output_error(format("cannot write {}: {}", quoted(path, 200), errno_text(errno)));
  return f;
}

OutputFile::OutputFile(OutputFile&& o) noexcept { *this = std::move(o); }
OutputFile& OutputFile::operator=(OutputFile&& o) noexcept {
  std::swap(path_, o.path_);
  std::swap(temp_, o.temp_);
  std::swap(fd_, o.fd_);
  std::swap(direct_, o.direct_);
  std::swap(written_, o.written_);
  std::swap(buffer_, o.buffer_);
  return *this;
}
OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temp_.empty()) {
    ::unlink(temp_.c_str());
    forget(temp_);
  }
}

namespace {

// Bytes of a mapped file go from file to file without coming to memory (and where the file system
// can, without being copied). How many: none where that is not possible.
size_t copy_by_kernel(int fd, const void* data, size_t size) {
  const auto at = reinterpret_cast<uintptr_t>(data);
  int from = -1;
  off64_t offset = 0;
  {
    Mappings& m = mappings();
    const std::lock_guard lock(m.mutex);
    if (const auto [mapping, start] = m.find(at, size); mapping != nullptr && mapping->fd >= 0) {
      from = mapping->fd;
      offset = static_cast<off64_t>(at - start);
    }
  }
  size_t done = 0;
  while (from >= 0 && done < size) {
    const ssize_t n = ::copy_file_range(from, &offset, fd, nullptr, size - done, 0);
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

Status write_all(int fd, const void* data, size_t size, const std::string& shown) {
  const char* p = static_cast<const char*>(data);
  constexpr size_t kPart = 16u << 20;
  if (size >= kPart / 4) {
    const size_t done = copy_by_kernel(fd, p, size);
    p += done;
    size -= done;
  }
  while (size > 0) {
    const ssize_t n = ::write(fd, p, std::min(size, kPart));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return output_error(format("cannot write {}: {}", shown, errno_text(errno)));
    if (size >= kPart / 4)
      release_pages(p, static_cast<size_t>(n));  // weights on their way through
    p += n;
    size -= static_cast<size_t>(n);
  }
  return ok();
}
}  // namespace

Status OutputFile::flush() {
  TRY(write_all(fd_, buffer_.data(), buffer_.size(), quoted(path_, 200)));
  buffer_.clear();
  return ok();
}

Status OutputFile::write(const void* data, size_t size) {
  written_ += size;
  if (size >= (1u << 18)) {
    TRY(flush());
    return write_all(fd_, data, size, quoted(path_, 200));
  }
  buffer_.append(static_cast<const char*>(data), size);
  return buffer_.size() >= (1u << 18) ? flush() : ok();
}

Status OutputFile::pad_to(uint64_t offset) {
  static const std::string kZeros(4096, '\0');
  while (written_ < offset)
    TRY(write(kZeros.data(), std::min<uint64_t>(offset - written_, kZeros.size())));
  return ok();
}

Status OutputFile::commit() {
  TRY(flush());
  if (direct_) {
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0)
      return output_error(format("cannot write {}: {}", quoted(path_, 200), errno_text(errno)));
    return ok();
  }
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS)
    return output_error(format("cannot write {}: {}", quoted(path_, 200), errno_text(errno)));
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0 || ::rename(temp_.c_str(), path_.c_str()) != 0)
    return output_error(format("cannot write {}: {}", quoted(path_, 200), errno_text(errno)));
  forget(temp_);
  temp_.clear();
  return ok();
}

Status write_stdout(const void* data, size_t size) {
  return write_all(STDOUT_FILENO, data, size, "standard output");
}

std::string dir_name(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}
std::string base_name(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string sha1_hex(std::span<const std::byte> data) {  // FIPS 180-4
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  const auto block = [&h](const uint8_t* b) {
    uint32_t w[80];
    for (int i = 0; i < 16; ++i)
      w[i] = uint32_t{b[4 * i]} << 24 | uint32_t{b[4 * i + 1]} << 16 | uint32_t{b[4 * i + 2]} << 8 |
             b[4 * i + 3];
    for (int i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0], bb = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; ++i) {
      const uint32_t f = i < 20   ? ((bb & c) | (~bb & d))
                         : i < 40 ? (bb ^ c ^ d)
                         : i < 60 ? ((bb & c) | (bb & d) | (c & d))
                                  : (bb ^ c ^ d);
      static constexpr uint32_t kK[] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
      const uint32_t t = std::rotl(a, 5) + f + e + kK[i / 20] + w[i];
      e = d, d = c, c = std::rotl(bb, 30), bb = a, a = t;
    }
    h[0] += a, h[1] += bb, h[2] += c, h[3] += d, h[4] += e;
  };
  const auto* p = reinterpret_cast<const uint8_t*>(data.data());
  size_t n = data.size();
  for (; n >= 64; n -= 64, p += 64) block(p);
  uint8_t tail[128] = {};
  if (n) std::memcpy(tail, p, n);
  tail[n] = 0x80;
  const size_t len = n < 56 ? 64 : 128;
  const uint64_t bits = static_cast<uint64_t>(data.size()) * 8;
  for (int i = 0; i < 8; ++i)
    tail[len - 1 - static_cast<size_t>(i)] = static_cast<uint8_t>(bits >> (8 * i));
  block(tail);
  if (len == 128) block(tail + 64);
  std::string s;
  for (uint32_t v : h) s += format("{:08x}", v);
  return s;
}

}  // namespace onnxtool
