#include "embed/option_flags.hpp"

#include <algorithm>

#include "embed/options.hpp"

namespace waystation::server {
namespace {

/// A default in the syntax of its flag.
std::string shown(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return text->empty() ? "empty" : *text;
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    std::string all;
    for (const auto& entry : *list) all += (all.empty() ? "" : ",") + entry;
    return all.empty() ? "empty" : all;
  }
  return to_toml(value);
}

/// The placeholder of a value: BYTES, SECONDS, NUMBER, LIST, …
std::string type_name(const Option& option) {
  switch (option.type) {
    case Option::Type::number: {
      std::string name = option.unit.empty() ? "number" : option.unit;
      std::ranges::transform(name, name.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
      });
      return name;
    }
    case Option::Type::list:
      return "LIST";
    default:
      return "TEXT";
  }
}

}  // namespace

OptionFlags::OptionFlags(CLI::App& command, std::string_view prefix) : command_(command) {
  command.add_option("--config", config_, "TOML file with options")
      ->allow_extra_args(false)
      ->type_name("FILE");
  for (const auto& option : all_options()) {
    if (!option.key.starts_with(prefix)) continue;
    auto names = option.flag();
    // Also accept the TOML key as a flag.
    if (option.key.find('_') != std::string::npos) names += ",--" + option.key;
    auto& values = values_[option.key];
    const auto standard = shown(option.standard);
    if (option.type == Option::Type::boolean) {
      command.add_flag(names, values, option.help)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
          ->default_str(standard);
    } else {
      command.add_option(names, values, option.help)
          ->allow_extra_args(false)
          ->type_name(type_name(option))
          ->default_str(standard);
    }
  }
}

ConfigurationSources OptionFlags::sources() const {
  ConfigurationSources sources;
  if (!config_.empty()) sources.file = config_.front();
  if (config_.size() > 1) {
    sources.mistakes.push_back("--config: given " + std::to_string(config_.size()) +
                               " times; allowed: once");
  }
  sources.environment = waystation_environment();
  for (const auto& [key, values] : values_) {
    if (command_.count(find_option(key)->flag()) > 0) sources.flags.emplace(key, values);
  }
  return sources;
}

}  // namespace waystation::server
