#include "embed/relay_options.hpp"

#include <cstring>
#include <stdexcept>
#include <utility>

#include "embed/descriptors.hpp"

namespace waystation::server {
namespace {

std::string joined(const std::vector<std::string>& list) {
  std::string text;
  for (const auto& entry : list) text += (text.empty() ? "" : ",") + entry;
  return text;
}

}  // namespace

LibraryOptions::LibraryOptions(const Settings& settings) {
  waystation_options_init(&options_, sizeof options_);
  for (const auto& option : all_options()) {
    if (option.info != nullptr) put(option, settings.value(option));
  }
  options_.descriptor_reserve = own_descriptors();
}

/// Writes a value into its field of the library's struct.
void LibraryOptions::put(const Option& option, const Value& value) {
  const auto& info = *option.info;
  auto* const field = reinterpret_cast<unsigned char*>(&options_) + info.field_offset;
  const auto put_number = [&](std::uint64_t number) {
    // The option's maximum fits a field of 32 bits.
    const auto narrow = static_cast<std::uint32_t>(number);
    const bool is_wide = info.field_size == sizeof number;
    std::memcpy(field, is_wide ? static_cast<const void*>(&number) : &narrow, info.field_size);
  };
  const auto put_text = [&](std::string text) {
    const char* const kept =
        texts_.emplace_back(std::make_unique<std::string>(std::move(text)))->c_str();
    std::memcpy(field, &kept, sizeof kept);
  };
  switch (option.type) {
    case Option::Type::boolean:
      return put_number(std::get<bool>(value) ? 1 : 0);
    case Option::Type::number:
      return put_number(std::get<std::uint64_t>(value));
    case Option::Type::choice: {
      std::uint64_t index = 0;
      while (std::get<std::string>(value) != info.choices[index]) ++index;
      return put_number(index);
    }
    case Option::Type::text:
      return put_text(std::get<std::string>(value));
    case Option::Type::list:
      return put_text(joined(std::get<std::vector<std::string>>(value)));
  }
}

void LibraryError::check(waystation_status status) const {
  if (status == WAYSTATION_OK) return;
  if (status == WAYSTATION_INVALID) throw ConfigurationError{message()};
  throw std::runtime_error{message()};
}

}  // namespace waystation::server
