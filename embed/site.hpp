// The static files of `www`, read into memory once and answered from there.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "embed/negotiation.hpp"

namespace waystation::server {

/// What a static file's answer depends on. Views into the request.
struct SiteRequest {
  std::string_view method = {};
  std::string_view path = {};  // as on the request line, percent-encoded, without the query
  std::string_view accept = {};
  std::string_view accept_encoding = {};
  std::string_view if_none_match = {};
};

struct SiteResponse {
  int status = 200;
  std::string head;        // status line and header fields, without the blank line
  std::string_view file;   // a file's bytes, the site's own; empty for HEAD and 304
  std::string error_page;  // or this

  std::string_view body() const { return error_page.empty() ? file : error_page; }
};

/// A folder's files as they were when it was read. Immutable, so any thread may ask it.
///
/// Nothing outside the folder can be reached, because nothing but the map is looked at: a path is
/// decoded once and must be a key. Not read at all: names that begin with a dot (but for
/// .well-known), symbolic links that lead out of the folder, and what is no regular file.
class Site {
 public:
  /// No folder: answers everything with 404. `advice` tells a person what to do about it.
  explicit Site(std::string advice = {});

  /// Reads a folder. Throws std::runtime_error where it cannot be read; what was left out, and
  /// why, is appended to `remarks`.
  static Site read(const std::string& folder, std::vector<std::string>& remarks);

  SiteResponse answer(const SiteRequest& request) const;

  std::size_t file_count() const { return files_.size(); }
  std::size_t byte_count() const;

 private:
  struct Representation {
    std::string bytes;
    std::string etag;
  };
  struct File {
    Representation plain;
    std::map<Coding, Representation> coded;  // from its .gz and .br siblings
  };

  SiteResponse missing(const SiteRequest& request) const;

  std::map<std::string, File, std::less<>> files_;  // by path, such as "assets/app-1a2b3c4d.js"
  std::string advice_;
};

}  // namespace waystation::server
