#include "embed/site.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "embed/responses.hpp"

namespace waystation::server {
namespace {

namespace fs = std::filesystem;

/// A page has a few hundred kilobytes. A larger folder is probably a mistake, such as a home
/// directory.
constexpr std::size_t kMaxBytes = 256U << 20;

// Allows only this server's files, and no inline script or style. If a message were ever rendered
// as markup, it could load, run and send nothing. 'self' in connect-src includes ws: and wss: of
// this host (Content Security Policy Level 3, section 6.7.2.8). A blob: address is of bytes in the
// page's own memory: the images that users send each other.
constexpr std::string_view kEveryResponse =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; font-src 'self'; manifest-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), microphone=(), geolocation=(), payment=(), usb=()\r\n";

std::string etag_of(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error{"libcrypto: SHA-256 is not available"};
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string tag = "\"";
  for (std::size_t i = 0; i < 16; ++i) {
    tag += kDigits[digest[i] >> 4U];
    tag += kDigits[digest[i] & 15U];
  }
  return tag + '"';
}

/// The first `size` bytes of a file; fewer if it is shorter.
std::string read_bytes(const fs::path& path, std::size_t size) {
  std::ifstream in{path, std::ios::binary};
  std::string bytes(size, '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!in.is_open() || in.bad()) throw std::runtime_error{path.string() + " cannot be read"};
  bytes.resize(static_cast<std::size_t>(in.gcount()));
  return bytes;
}

bool is_hidden(const fs::path& name) {
  const auto text = name.string();
  return text.starts_with('.') && text != ".well-known";
}

bool is_within(const fs::path& path, const fs::path& folder) {
  const auto [in_folder, in_path] = std::ranges::mismatch(folder, path);
  return in_folder == folder.end();
}

/// Decodes percent-encoding. Returns nothing for malformed text and for an encoded NUL or slash.
std::optional<std::string> decoded(std::string_view path) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      out += path[i];
      continue;
    }
    if (i + 2 >= path.size()) return {};
    const int high = digit(path[i + 1]);
    const int low = digit(path[i + 2]);
    if (high < 0 || low < 0) return {};
    const char c = static_cast<char>(high * 16 + low);
    if (c == '\0' || c == '/') return {};
    out += c;
    i += 2;
  }
  return out;
}

/// Whether a bundler put a hash of the content into the name: assets/index-Bx3_k2d1.js.
bool has_hash(std::string_view path) {
  constexpr std::size_t kHash = 8;
  if (!path.starts_with("assets/")) return false;
  for (auto dash = path.find('-'); dash != std::string_view::npos;
       dash = path.find('-', dash + 1)) {
    const auto hash = path.substr(dash + 1, kHash);
    const bool is_hash = hash.size() == kHash && std::ranges::all_of(hash, [](unsigned char c) {
                           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                                  (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
                         });
    if (is_hash && path.substr(dash + 1 + kHash).starts_with('.')) return true;
  }
  return false;
}

bool accepts_html(const SiteRequest& request) {
  return request.accept.find("text/html") != std::string_view::npos;
}

/// A page at any path, with the references `"./…"` from the root of the site. Absolute paths would
/// not do behind a proxy that serves the site in a folder.
std::string from_root(std::string_view page, std::string_view path) {
  const auto slashes = std::ranges::count(path, '/');
  std::string up;
  for (auto depth = 1; depth < slashes; ++depth) up += "../";
  std::string result;
  constexpr std::string_view kReference = "=\"./";
  for (auto at = page.find(kReference); at != std::string_view::npos; at = page.find(kReference)) {
    result.append(page.substr(0, at + kReference.size())).append(up);
    page.remove_prefix(at + kReference.size());
  }
  return result.append(page);
}

/// An error page never contains text from the request, so nothing needs escaping. `page`: the HTML
/// page, or empty for one with the detail.
SiteResponse error_response(const SiteRequest& request, int status, std::string_view code,
                            std::string_view detail, std::string_view more_fields,
                            std::string page = {}) {
  SiteResponse response;
  response.status = status;
  const bool html = accepts_html(request);
  if (html && !page.empty()) {
    response.error_page = std::move(page);
  } else if (html) {
    response.error_page = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>" +
                          std::to_string(status) + "</title><p>" + std::string{detail} +
                          "</p></html>\n";
  } else {
    response.error_page = error_json(code, detail);
  }
  response.head = status_line(status) + std::string{kEveryResponse} +
                  "Content-Type: " + (html ? "text/html; charset=utf-8" : "application/json") +
                  "\r\nContent-Length: " + std::to_string(response.error_page.size()) +
                  "\r\nCache-Control: no-store\r\nVary: Accept\r\n" + std::string{more_fields};
  if (request.method == "HEAD") response.error_page.clear();
  return response;
}

}  // namespace

Site::Site(std::string advice) : advice_{std::move(advice)} {}

Site Site::read(const std::string& folder, std::vector<std::string>& remarks) {
  const auto root = fs::canonical(folder);
  if (!fs::is_directory(root)) throw std::runtime_error{folder + " is not a folder"};

  Site site;
  std::size_t total = 0;
  // The iterator does not follow links to folders.
  for (auto entry = fs::recursive_directory_iterator{root}; entry != fs::end(entry); ++entry) {
    const auto relative = entry->path().lexically_relative(root).generic_string();
    if (is_hidden(entry->path().filename())) {
      if (entry->is_directory()) entry.disable_recursion_pending();
      continue;
    }
    if (entry->is_symlink()) {
      std::error_code broken;
      const auto target = fs::canonical(entry->path(), broken);
      if (broken || !is_within(target, root) || fs::is_directory(target)) {
        remarks.push_back(relative + " is skipped: a link to a folder, or out of " + folder);
        continue;
      }
    }
    if (!entry->is_regular_file()) continue;
    // Checked before the file is in memory. If it grows meanwhile, the rest is not read.
    const auto size = entry->file_size();
    if (size > kMaxBytes - total) {
      throw std::runtime_error{folder + " holds more than 256 MiB; is it the right folder?"};
    }
    auto bytes = read_bytes(entry->path(), size);
    total += bytes.size();
    auto etag = etag_of(bytes);
    site.files_[relative].plain = {std::move(bytes), std::move(etag)};
  }

  // A compressed copy is a representation of its original and not a separate file.
  for (const auto& [suffix, coding] : {std::pair{".gz", Coding::gzip}, {".br", Coding::brotli}}) {
    for (auto copy = site.files_.begin(); copy != site.files_.end();) {
      const auto original = copy->first.ends_with(suffix)
                                ? site.files_.find(copy->first.substr(0, copy->first.size() - 3))
                                : site.files_.end();
      if (original == site.files_.end()) {
        ++copy;
        continue;
      }
      original->second.coded[coding] = std::move(copy->second.plain);
      copy = site.files_.erase(copy);
    }
  }
  return site;
}

std::size_t Site::byte_count() const {
  std::size_t total = 0;
  for (const auto& [path, file] : files_) {
    total += file.plain.bytes.size();
    for (const auto& [coding, copy] : file.coded) total += copy.bytes.size();
  }
  return total;
}

SiteResponse Site::missing(const SiteRequest& request) const {
  std::string page;
  const auto own = files_.find("404.html");
  // The page grows with the number of slashes, which the client chooses.
  constexpr auto kMaxSlashes = 64;
  if (own != files_.end() && accepts_html(request) &&
      std::ranges::count(request.path, '/') <= kMaxSlashes) {
    page = from_root(own->second.plain.bytes, request.path);
  }
  return error_response(request, 404, "not_found",
                        advice_.empty() ? "There is nothing here." : advice_, {}, std::move(page));
}

SiteResponse Site::answer(const SiteRequest& request) const {
  if (!request.path.starts_with('/')) return missing(request);
  auto path = decoded(request.path.substr(1));
  if (!path) return missing(request);
  if (path->empty() || path->ends_with('/')) *path += "index.html";
  const auto found = files_.find(*path);
  if (found == files_.end()) return missing(request);
  if (request.method != "GET" && request.method != "HEAD") {
    return error_response(request, 405, "method_not_allowed", "Files are read with GET and HEAD.",
                          "Allow: GET, HEAD\r\n");
  }

  const auto& file = found->second;
  std::vector<Coding> available;
  for (const auto& [coding, copy] : file.coded) available.push_back(coding);
  const auto coding = choose_coding(request.accept_encoding, available);
  const auto& chosen = coding == Coding::identity ? file.plain : file.coded.at(coding);

  SiteResponse response;
  const bool unchanged = etag_matches(request.if_none_match, chosen.etag);
  response.status = unchanged ? 304 : 200;
  response.head =
      status_line(response.status) + std::string{kEveryResponse} + "ETag: " + chosen.etag + "\r\n";
  response.head += has_hash(*path) ? "Cache-Control: public, max-age=31536000, immutable\r\n"
                                   : "Cache-Control: no-cache\r\n";
  if (!file.coded.empty()) response.head += "Vary: Accept-Encoding\r\n";
  if (!unchanged) {
    response.head += "Content-Type: " + std::string{content_type(*path)} +
                     "\r\nContent-Length: " + std::to_string(chosen.bytes.size()) + "\r\n";
    if (coding == Coding::gzip) response.head += "Content-Encoding: gzip\r\n";
    if (coding == Coding::brotli) response.head += "Content-Encoding: br\r\n";
    if (request.method == "GET") response.file = chosen.bytes;
  }
  return response;
}

}  // namespace waystation::server
