// The result of a function that can fail, with the reason.
#pragma once

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/error.hpp"

namespace waystation {

/// A value or an error. `E` and `T` must be different types. If `E` is std::string, it is a clause
/// or a sentence, as the function says.
template <typename T, typename E = Error>
class [[nodiscard]] Result {
 public:
  /// A default value, to be filled in place.
  Result() requires std::default_initializable<T>
  = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `return value;`
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): `return error;`
  Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}
  /// An error from a value that converts to it, such as a literal to std::string.
  template <typename U>
  requires(!std::same_as<std::remove_cvref_t<U>, E> && std::convertible_to<U, E> &&
           !std::convertible_to<U, T>)
      // NOLINTNEXTLINE(google-explicit-constructor): `return "an error";`
      Result(U&& error)
      : state_(std::in_place_index<1>, std::forward<U>(error)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  /// Requires a value.
  T& operator*() noexcept { return *std::get_if<0>(&state_); }
  const T& operator*() const noexcept { return *std::get_if<0>(&state_); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }

  /// Requires an error.
  E& error() noexcept { return *std::get_if<1>(&state_); }
  const E& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, E> state_;
};

/// Success without a value, or an error.
template <typename E>
class [[nodiscard]] Result<void, E> {
 public:
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `return error;`
  Result(E error) : error_(std::move(error)) {}

  bool has_value() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return has_value(); }

  /// Requires an error.
  E& error() noexcept { return *error_; }
  const E& error() const noexcept { return *error_; }

 private:
  std::optional<E> error_;
};

}  // namespace waystation
