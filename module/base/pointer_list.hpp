// A list of pointers that seldom has more than a few.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace waystation {

/// Pointers without an order. The first `kInline` need no further memory. One thread.
template <typename T, std::uint32_t kInline>
class PointerList {
 public:
  using value_type = T*;
  using iterator = T* const*;
  using const_iterator = iterator;

  PointerList() noexcept : few_{} {}
  ~PointerList() {
    if (!is_inline()) delete[] many_;
  }
  PointerList(const PointerList&) = delete;
  PointerList& operator=(const PointerList&) = delete;

  iterator begin() const noexcept { return is_inline() ? few_.data() : many_; }
  iterator end() const noexcept { return begin() + size_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::size_t capacity() const noexcept { return capacity_; }
  T* operator[](std::size_t at) const noexcept { return begin()[at]; }

  /// So that `count` pointers need no memory. Throws std::bad_alloc, and nothing is changed.
  void reserve(std::size_t count) {
    if (count <= capacity_) return;
    const auto capacity = std::max<std::size_t>(count, 2 * std::size_t{capacity_});
    auto* const larger = new T*[capacity];
    std::copy(begin(), end(), larger);
    if (!is_inline()) delete[] many_;
    many_ = larger;
    capacity_ = static_cast<std::uint32_t>(capacity);
  }

  /// After reserve().
  void add(T& pointer) noexcept { data()[size_++] = &pointer; }

  /// The last one takes the place of `pointer`, which is in the list.
  void remove(const T& pointer) noexcept {
    *std::find(data(), data() + size_, &pointer) = data()[size_ - 1];
    --size_;
  }

 private:
  bool is_inline() const noexcept { return capacity_ == kInline; }
  T** data() noexcept { return is_inline() ? few_.data() : many_; }

  union {
    std::array<T*, kInline> few_;
    T** many_;  // where the capacity is larger
  };
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = kInline;
};

}  // namespace waystation
