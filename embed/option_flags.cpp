#include "embed/option_flags.hpp"

#include "embed/options.hpp"

namespace waystation::server {
namespace {

/// A default as it would be given to the flag.
std::string shown(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return text->empty() ? "empty" : *text;
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    std::string all;
    for (const auto& entry : *list) all += (all.empty() ? "" : ",") + entry;
    return all.empty() ? "empty" : all;
  }
  return to_toml(value);
}

}  // namespace

OptionFlags::OptionFlags(CLI::App& command, std::string_view prefix) : command_(command) {
  const Settings defaults;
  command.add_option("--config", config_, "TOML file with options")->type_name("FILE");
  for (const auto& option : all_options()) {
    if (!option.key.starts_with(prefix)) continue;
    auto names = option.flag();
    // As the key is written, too, so that a line of the file can be pasted.
    if (option.key.find('_') != std::string_view::npos) names += ",--" + std::string{option.key};
    auto& values = values_[std::string{option.key}];
    const std::string doc{option.doc};
    const auto standard = shown(value_of(option, defaults));
    if (option.is_switch()) {
      command.add_flag(names, values, doc)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
          ->default_str(standard);
    } else {
      command.add_option(names, values, doc)
          ->allow_extra_args(false)
          ->type_name(option.is_list()     ? "LIST"
                      : option.highest > 0 ? "NUMBER"
                                           : "TEXT")
          ->default_str(standard);
    }
  }
}

ConfigurationSources OptionFlags::sources() const {
  ConfigurationSources sources;
  if (command_.count("--config") > 0) sources.file = config_;
  sources.environment = waystation_environment();
  for (const auto& [key, values] : values_) {
    if (command_.count(find_option(key)->flag()) > 0) sources.flags.emplace(key, values);
  }
  return sources;
}

}  // namespace waystation::server
