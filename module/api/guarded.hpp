// What stands between the C functions and exceptions.
#pragma once

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "waystation/waystation.h"

namespace waystation {

/// Puts a line into a caller's buffer, cut off where that ends. `error` may be null.
inline void write_error(char* error, std::size_t error_size, const char* text) noexcept {
  if (error == nullptr || error_size == 0) return;
  const auto length = std::min(std::strlen(text), error_size - 1);
  std::memcpy(error, text, length);
  error[length] = '\0';
}

/// The number that a caller in C gave for an enumeration. It may be none of its values, which C++
/// must not read as one.
template <typename Enum>
int number_of(const Enum& value) noexcept {
  static_assert(sizeof(Enum) == sizeof(int));
  int number = 0;
  std::memcpy(&number, &value, sizeof number);
  return number;
}

/// Runs `f`, which returns a status, and lets no exception out.
template <typename F>
waystation_status guarded(F&& f) noexcept {
  try {
    return std::forward<F>(f)();
  } catch (const std::invalid_argument&) {
    return WAYSTATION_INVALID;
  } catch (const std::bad_alloc&) {
    return WAYSTATION_EXHAUSTED;
  } catch (const std::system_error&) {
    return WAYSTATION_EXHAUSTED;
  } catch (...) {
    return WAYSTATION_INTERNAL;
  }
}

/// As guarded, and puts into `error` what the exception said.
template <typename F>
waystation_status guarded_with_error(char* error, std::size_t error_size, F&& f) noexcept {
  write_error(error, error_size, "");
  return guarded([&] {
    try {
      return std::forward<F>(f)();
    } catch (const std::exception& problem) {
      write_error(error, error_size, problem.what());
      throw;
    }
  });
}

}  // namespace waystation
