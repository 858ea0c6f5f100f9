// Objects that are found by their name, with little memory for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace waystation {

/// The base of a type `T` whose objects are in one piece of memory with their name. `Size` limits
/// the name's size. `T` needs no more than the usual alignment.
template <typename T, typename Size = std::uint8_t>
class Named {
 public:
  static constexpr std::size_t kMaxName = std::numeric_limits<Size>::max();

  Named(const Named&) = delete;
  Named& operator=(const Named&) = delete;

  /// `name` has kMaxName bytes at most. Throws std::bad_alloc.
  static std::unique_ptr<T> make(std::string_view name) {
    static_assert(std::is_final_v<T> && std::is_nothrow_default_constructible_v<T>);
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    auto* const made = ::new (::operator new(sizeof(T) + name.size())) T;
    made->name_bytes_ = static_cast<Size>(name.size());
    name.copy(reinterpret_cast<char*>(made + 1), name.size());
    return std::unique_ptr<T>(made);
  }
  static void operator delete(void* memory) noexcept { ::operator delete(memory); }

  std::string_view name() const noexcept {
    return {reinterpret_cast<const char*>(static_cast<const T*>(this) + 1), name_bytes_};
  }

 protected:
  Named() = default;
  ~Named() = default;

 private:
  Size name_bytes_ = 0;
};

/// A set of objects, which it owns, by T::name(). They are in numbered buckets: about one in each,
/// and each stays in its bucket until the number of buckets changes. `kNext` is a member of T for
/// this set alone. One thread.
template <typename T, T* T::*kNext>
class NamedSet {
 public:
  NamedSet() = default;
  ~NamedSet() {
    erase_if([](const T&) { return true; });
  }
  NamedSet(const NamedSet&) = delete;
  NamedSet& operator=(const NamedSet&) = delete;

  std::size_t size() const noexcept { return size_; }
  std::size_t bucket_count() const noexcept { return buckets_.size(); }

  /// Null: there is none of this name.
  T* find(std::string_view name) const noexcept {
    if (buckets_.empty()) return nullptr;
    auto* element = buckets_[bucket_of(name)];
    while (element != nullptr && element->name() != name) element = element->*kNext;
    return element;
  }

  /// The set has none of this name. Throws std::bad_alloc, and nothing is inserted.
  T& insert(std::unique_ptr<T> element) {
    if (size_ == buckets_.size()) grow();
    ++size_;
    auto& inserted = *element.release();
    push(inserted);
    return inserted;
  }

  void erase(T& element) noexcept {
    auto** at = &buckets_[bucket_of(element.name())];
    while (*at != &element) at = &((*at)->*kNext);
    destroy(at);
  }

  /// Destroys all elements for which `is_unwanted(T&)` is true.
  template <typename F>
  void erase_if(F&& is_unwanted) noexcept {
    for (auto& first : buckets_) {
      for (auto** at = &first; *at != nullptr;) {
        if (is_unwanted(**at)) {
          destroy(at);
        } else {
          at = &((*at)->*kNext);
        }
      }
    }
  }

  /// Calls `visit(T&)` for each element of a bucket, or of all; it must not change the set.
  template <typename F>
  void visit(std::size_t bucket, F&& visit) const {
    for (auto* element = buckets_[bucket]; element != nullptr; element = element->*kNext) {
      visit(*element);
    }
  }
  template <typename F>
  void visit_all(F&& visit) const {
    for (std::size_t bucket = 0; bucket != buckets_.size(); ++bucket) this->visit(bucket, visit);
  }

 private:
  static constexpr std::size_t kMinBuckets = 16;

  /// The number of buckets is a power of 2.
  std::size_t bucket_of(std::string_view name) const noexcept {
    return std::hash<std::string_view>{}(name) & (buckets_.size() - 1);
  }

  void push(T& element) noexcept {
    auto& first = buckets_[bucket_of(element.name())];
    element.*kNext = first;
    first = &element;
  }

  void destroy(T** at) noexcept {
    const std::unique_ptr<T> element(*at);
    *at = element.get()->*kNext;
    --size_;
  }

  void grow() {
    std::vector<T*> larger(buckets_.empty() ? kMinBuckets : 2 * buckets_.size());
    buckets_.swap(larger);
    for (auto* element : larger) {
      while (element != nullptr) push(*std::exchange(element, element->*kNext));
    }
  }

  std::vector<T*> buckets_;
  std::size_t size_ = 0;
};

}  // namespace waystation
