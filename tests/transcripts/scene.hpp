// Reads the scenes of the Markdown files in this folder. README.md describes their language.
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
  std::string player;   // "router" or "transport" if only that one can play it; else empty
  std::vector<SceneLine> lines;
};

/// The scenes of all *.md files in `folder`, in the order of their names.
/// Throws std::runtime_error if a file cannot be read or a scene has no end.
std::vector<Scene> read_scenes(const std::filesystem::path& folder);

/// Returns true if a frame matches the expectation of a scene, by the rules of README.md.
bool is_expected(std::string_view expected, std::string_view frame);

}  // namespace waystation::test
