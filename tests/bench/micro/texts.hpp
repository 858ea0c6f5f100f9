// Texts for benchmarks.
#pragma once

#include <string>

namespace waystation::bench {

/// A frame's text whose message is a string of about `bytes` bytes: English words or Chinese.
std::string words(std::size_t bytes);
std::string chinese(std::size_t bytes);
/// The same with an array of small objects: numbers, names, nesting, white space.
std::string records(std::size_t bytes);

/// A masked client frame around `text`.
std::string client_frame(const std::string& text);

}  // namespace waystation::bench
