// Scenes as they stand in the Markdown files of this folder; README.md describes the language.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace waystation::test {

struct SceneLine {
  int number = 0;  // in its file
  std::string text;
};

struct Scene {
  std::filesystem::path file;
  int number = 0;       // of the line where it begins
  std::string heading;  // above it
  std::string player;   // "router" or "transport" where only that one can play it; else empty
  std::vector<SceneLine> lines;
};

/// The scenes of all *.md files in `folder`, in the order of their names.
/// Throws std::runtime_error where a file cannot be read or a scene never ends.
std::vector<Scene> read_scenes(const std::filesystem::path& folder);

/// Whether a frame is what a scene expects, by the rules of README.md.
bool is_expected(std::string_view expected, std::string_view frame);

}  // namespace waystation::test
