// Configurations of a file, variables and flags. If one is accepted, the output of `config show` is
// a file with the same meaning. Otherwise each error is one line.
//
// An input is a TOML file, a line "%%", variables without WAYSTATION_ ("AUTH=open"), a line "%%",
// and flags by key ("auth=open").
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "embed/addresses.hpp"
#include "embed/configuration.hpp"

using namespace waystation::server;

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

/// A file in memory.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view text) : descriptor_(memfd_create("toml", MFD_CLOEXEC)) {
    must(descriptor_ >= 0);
    must(write(descriptor_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// Removes and returns everything up to the next `separator`.
std::string_view take(std::string_view& rest, std::string_view separator) {
  const auto part = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(part.size() + separator.size(), rest.size()));
  return part;
}

bool is_one_line(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

/// Calls `set` with each name and value of lines such as "auth=open". Variables and arguments are C
/// strings: a NUL byte ends them.
template <typename F>
void for_each_setting(std::string_view lines, F set) {
  while (!lines.empty()) {
    auto value = take(lines, "\n");
    value = value.substr(0, value.find('\0'));
    const std::string name{take(value, "=")};
    set(name, std::string{value});
  }
}

std::optional<Configuration> load(const ConfigurationSources& sources) {
  try {
    auto configuration = read_configuration(sources);
    for (const auto& warning : check_configuration(configuration)) must(is_one_line(warning));
    configuration.throw_mistakes();
    return configuration;
  } catch (const ConfigurationError& error) {
    must(!error.lines().empty());
    for (const auto& line : error.lines()) must(is_one_line(line));
    return std::nullopt;
  }
}

void check_shown(const Configuration& configuration) {
  const MemoryFile shown(show_configuration(configuration));
  ConfigurationSources sources;
  sources.file = shown.path();
  const auto again = load(sources);
  must(again.has_value());
  for (const auto& option : all_options()) {
    must(configuration.settings.value(option) == again->settings.value(option));
    must(again->origin(option.key).starts_with(shown.path()));
  }
}

void check_addresses(std::string_view text) {
  if (const auto listener = parse_listen_address(text)) {
    must(parse_listen_address(listener->text()) == listener);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  check_addresses(rest);
  const MemoryFile file(take(rest, "\n%%\n"));
  ConfigurationSources sources;
  sources.file = file.path();
  for_each_setting(take(rest, "\n%%\n"), [&](const std::string& name, const std::string& value) {
    check_addresses(value);
    sources.environment.emplace("WAYSTATION_" + name, value);
  });
  for_each_setting(rest, [&](const std::string& name, const std::string& value) {
    check_addresses(value);
    // The command line has no other flags.
    if (find_option(name) != nullptr) sources.flags[name].push_back(value);
  });

  const auto configuration = load(sources);
  if (!configuration) return 0;
  for (const auto& warning : configuration->warnings) must(is_one_line(warning));
  must(!configuration->settings.list("listen").empty());
  for (const auto& text : configuration->settings.list("listen")) {
    const auto listener = parse_listen_address(text);
    must(listener.has_value());
    // Open mode is limited to loopback, whatever the source of its options.
    must(configuration->settings.text("auth") != "open" ||
         configuration->settings.flag("allow_open_network") || listener->is_loopback());
  }
  for (const auto& block : configuration->settings.list("trusted_proxies")) {
    must(!block.ends_with("/0"));
  }
  check_shown(*configuration);
  return 0;
}
