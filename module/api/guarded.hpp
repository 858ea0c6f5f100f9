// Helpers of the C functions: exceptions become statuses, and structs have a version.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// The integer of an enumeration from a C caller. It may be out of range, and reading such a value
/// as the enumeration would be undefined in C++.
template <typename Enum>
int number_of(const Enum& value) noexcept {
  static_assert(sizeof(Enum) == sizeof(int));
  int number = 0;
  std::memcpy(&number, &value, sizeof number);
  return number;
}

/// Whether a versioned struct is not null and includes its `size` field.
template <typename T>
bool is_sized(const T* from) noexcept {
  return from != nullptr && from->size >= sizeof(std::size_t);
}

/// Copies a struct to a caller's, which may be shorter. Keeps the caller's `size`.
template <typename T>
void write_sized(T& to, const T& whole) noexcept {
  const auto size = to.size;
  std::memcpy(&to, &whole, std::min(size, sizeof whole));
  to.size = size;
}

/// Copies a text into a field. Truncates it at the end of a character if it is too long.
template <std::size_t Size>
void copy_text(char (&to)[Size], std::string_view text) noexcept {
  auto length = std::min(text.size(), Size - 1);
  const auto is_continuation = [&](std::size_t i) {
    return (static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U;
  };
  if (length < text.size()) {
    while (length > 0 && is_continuation(length)) --length;
  }
  text.copy(to, length);
  to[length] = '\0';
}

/// Writes a caller's error, which may be null, and returns `status`.
inline waystation_status fail(waystation_error* error, waystation_status status,
                              std::string_view message = {},
                              std::string_view option = {}) noexcept {
  if (!is_sized(error)) return status;
  waystation_error whole{};
  whole.status = status;
  copy_text(whole.option, option);
  if (message.empty() && status != WAYSTATION_OK) message = waystation_status_text(status);
  copy_text(whole.message, message);
  write_sized(*error, whole);
  return status;
}

/// Runs `f`, which returns a status, and catches all exceptions. `on_runtime_error` is the status
/// for errors of the operating system or SQLite.
template <typename F>
waystation_status guarded(waystation_error* error, F&& f,
                          waystation_status on_runtime_error = WAYSTATION_EXHAUSTED) noexcept {
  try {
    return fail(error, std::forward<F>(f)());
  } catch (const OptionError& problem) {
    return fail(error, WAYSTATION_INVALID, problem.what(), problem.error().option);
  } catch (const std::invalid_argument& problem) {
    return fail(error, WAYSTATION_INVALID, problem.what());
  } catch (const std::bad_alloc&) {
    return fail(error, WAYSTATION_EXHAUSTED, "out of memory; try again later");
  } catch (const std::runtime_error& problem) {
    return fail(error, on_runtime_error, problem.what());
  } catch (...) {
    return fail(error, WAYSTATION_INTERNAL);
  }
}

template <typename F>
waystation_status guarded(F&& f) noexcept {
  return guarded(nullptr, std::forward<F>(f));
}

/// Throws std::invalid_argument with `message` unless `is_valid`.
inline void require(bool is_valid, const char* message) {
  if (!is_valid) throw std::invalid_argument(message);
}

}  // namespace waystation
