// The one table of options. Flags, TOML keys, variables, defaults, ranges, checks, help texts, the
// shipped configuration file and its manual page come from it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "waystation/waystation.h"

namespace waystation {

/// All options, in the order of the configuration file.
std::span<const waystation_option_info> option_table() noexcept;

/// The row of an option, or null if there is no such option.
const waystation_option_info* find_option(std::string_view name) noexcept;

/// Every option at its default, without callbacks.
waystation_options default_options() noexcept;

/// The value of a number, boolean or choice in the struct.
std::uint64_t number_in(const waystation_options& options,
                        const waystation_option_info& info) noexcept;

}  // namespace waystation
