// Queues through their elements, so that joining one needs no memory.
#pragma once

namespace waystation {

/// The place of a `T` in one IntrusiveQueue.
template <typename T>
class QueueLink {
 public:
  QueueLink() = default;
  QueueLink(const QueueLink&) = delete;
  QueueLink& operator=(const QueueLink&) = delete;

  bool is_queued() const noexcept { return next_ != nullptr; }

 private:
  template <typename U, QueueLink<U> U::*>
  friend class IntrusiveQueue;

  T* next_ = nullptr;  // the last element's is itself; null: in no queue
};

/// First in, first out; each element once. Owns nothing: an element must not be destroyed while it
/// is queued. One thread.
template <typename T, QueueLink<T> T::*kLink>
class IntrusiveQueue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  T* front() const noexcept { return first_; }
  /// The element behind `element`, which is queued; null behind the last.
  T* after(const T& element) const noexcept {
    auto* const next = (element.*kLink).next_;
    return next == &element ? nullptr : next;
  }

  /// Does nothing where the element is queued already.
  void push(T& element) noexcept {
    if ((element.*kLink).is_queued()) return;
    (element.*kLink).next_ = &element;
    if (first_ == nullptr) {
      first_ = &element;
    } else {
      (last_->*kLink).next_ = &element;
    }
    last_ = &element;
  }

  /// Removes and returns the first; null where there is none.
  T* pop() noexcept {
    auto* const element = first_;
    if (element == nullptr) return nullptr;
    first_ = after(*element);
    (element->*kLink).next_ = nullptr;
    return element;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
};

}  // namespace waystation
