#include "embed/negotiation.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace waystation::server {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 22> kTypes{{
    {".css", "text/css; charset=utf-8"},
    {".gif", "image/gif"},
    {".htm", "text/html; charset=utf-8"},
    {".html", "text/html; charset=utf-8"},
    {".ico", "image/x-icon"},
    {".jpeg", "image/jpeg"},
    {".jpg", "image/jpeg"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".md", "text/plain; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".mp3", "audio/mpeg"},
    {".png", "image/png"},
    {".svg", "image/svg+xml"},
    {".txt", "text/plain; charset=utf-8"},
    {".wasm", "application/wasm"},
    {".webmanifest", "application/manifest+json"},
    {".webp", "image/webp"},
    {".woff", "font/woff"},
    {".woff2", "font/woff2"},
    {".xml", "application/xml"},
}};

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Removes the text up to `separator` from `rest` and returns it.
std::string_view next(std::string_view& rest, char separator) {
  const auto end = rest.find(separator);
  const auto part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return trimmed(part);
}

/// A weight in thousandths. A malformed weight counts as 0.
int weight(std::string_view parameters) {
  while (!parameters.empty()) {
    auto parameter = next(parameters, ';');
    if (parameter.size() < 2 || lower(parameter[0]) != 'q' || parameter[1] != '=') continue;
    parameter.remove_prefix(2);
    if (parameter.empty() || parameter.size() > 5 || (parameter[0] != '0' && parameter[0] != '1')) {
      return 0;
    }
    int value = (parameter[0] - '0') * 1000;
    if (parameter.size() == 1) return value;
    if (parameter[1] != '.') return 0;
    for (std::size_t i = 2, unit = 100; i < parameter.size(); ++i, unit /= 10) {
      if (parameter[i] < '0' || parameter[i] > '9') return 0;
      value += (parameter[i] - '0') * static_cast<int>(unit);
    }
    return std::min(value, 1000);
  }
  return 1000;
}

std::string_view coding_name(Coding coding) {
  switch (coding) {
    case Coding::gzip:
      return "gzip";
    case Coding::brotli:
      return "br";
    case Coding::identity:
      break;
  }
  return "identity";
}

}  // namespace

std::string_view content_type(std::string_view path) {
  const auto dot = path.rfind('.');
  if (dot != std::string_view::npos) {
    for (const auto& [extension, type] : kTypes) {
      if (equals_ignoring_case(path.substr(dot), extension)) return type;
    }
  }
  return "application/octet-stream";
}

Coding choose_coding(std::string_view accept_encoding, std::span<const Coding> available) {
  constexpr int kUnnamed = -1;
  std::array<int, 3> weights{kUnnamed, kUnnamed, kUnnamed};
  int others = kUnnamed;
  while (!accept_encoding.empty()) {
    auto entry = next(accept_encoding, ',');
    const auto name = next(entry, ';');
    const int q = weight(entry);
    if (name == "*") others = q;
    for (const auto coding : {Coding::identity, Coding::gzip, Coding::brotli}) {
      if (equals_ignoring_case(name, coding_name(coding))) {
        weights[static_cast<std::size_t>(coding)] = q;
      }
    }
  }
  auto best = Coding::identity;
  int best_weight = weights[0] != kUnnamed ? weights[0] : 0;
  // Smallest coding first: it wins at equal weights. Without a weight, identity is the last choice.
  for (const auto coding : {Coding::gzip, Coding::brotli}) {
    if (std::ranges::find(available, coding) == available.end()) continue;
    int q = weights[static_cast<std::size_t>(coding)];
    if (q == kUnnamed) q = others;
    if (q > 0 && q >= best_weight) {
      best = coding;
      best_weight = q;
    }
  }
  return best;
}

bool etag_matches(std::string_view if_none_match, std::string_view etag) {
  while (!if_none_match.empty()) {
    auto candidate = next(if_none_match, ',');
    if (candidate == "*") return true;
    if (candidate.starts_with("W/")) candidate.remove_prefix(2);
    if (candidate == etag) return true;
  }
  return false;
}

}  // namespace waystation::server
