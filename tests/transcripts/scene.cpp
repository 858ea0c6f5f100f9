#include "transcripts/scene.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>

#include "relay/json_scanner.hpp"

namespace waystation::test {
namespace {

constexpr std::string_view kFence = "```";
constexpr std::string_view kAnything = "\"…\"";

void read_file(const std::filesystem::path& file, std::vector<Scene>& scenes) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  std::string heading;
  std::string line;
  bool in_fence = false;
  bool in_scene = false;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.starts_with(kFence)) {
      const auto info = line.substr(kFence.size());
      in_scene = !in_fence && (info == "scene" || info.starts_with("scene "));
      in_fence = !in_fence;
      if (in_scene) {
        scenes.push_back(
            {file, number, heading, info.substr(std::min<std::size_t>(6, info.size())), {}});
      }
    } else if (in_scene) {
      if (!line.empty() && line[0] != '#') scenes.back().lines.push_back({number, line});
    } else if (!in_fence && line.starts_with('#')) {
      heading = line.substr(line.find_first_not_of("# "));
    }
  }
  if (in_fence) throw std::runtime_error("a fence is not ended in " + file.string());
}

/// The members of an object by name; empty if `text` is not an object.
std::optional<std::map<std::string_view, std::string_view>> members(std::string_view text) {
  JsonScanner scanner(text);
  std::map<std::string_view, std::string_view> result;
  if (!scanner.accept('{')) return std::nullopt;
  scanner.skip_space();
  if (scanner.accept('}')) return result;
  do {
    std::string_view name;
    std::string_view value;
    scanner.skip_space();
    if (!scanner.string(&name)) return std::nullopt;
    scanner.skip_space();
    if (!scanner.accept(':') || !scanner.value(&value, 1)) return std::nullopt;
    if (!result.emplace(name, value).second) return std::nullopt;
    scanner.skip_space();
  } while (scanner.accept(','));
  return scanner.accept('}') && scanner.end() ? std::optional(result) : std::nullopt;
}

bool are_equal(std::string_view expected, std::string_view got) {
  if (expected == kAnything || expected == got) return true;
  const auto a = members(expected);
  const auto b = members(got);
  if (!a || !b || a->size() != b->size()) return false;
  return std::ranges::all_of(*a, [&b](const auto& member) {
    const auto& [name, value] = member;
    const auto found = b->find(name);
    if (found == b->end()) return false;
    if (name == "message" || name == "signal") return value == found->second;
    return are_equal(value, found->second);
  });
}

}  // namespace

std::vector<Scene> read_scenes(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".md" && entry.path().filename() != "README.md") {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  std::vector<Scene> scenes;
  for (const auto& file : files) read_file(file, scenes);
  return scenes;
}

bool is_expected(std::string_view expected, std::string_view frame) {
  // The placeholder becomes a string, so that the expectation is valid JSON.
  std::string text(expected);
  constexpr std::string_view dots = "…";
  for (auto at = text.find(dots); at != std::string::npos;
       at = text.find(dots, at + kAnything.size())) {
    text.replace(at, dots.size(), kAnything);
  }
  return is_json(frame) && are_equal(text, frame);
}

}  // namespace waystation::test
