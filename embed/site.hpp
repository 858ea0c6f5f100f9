// The static files of `www`, read into memory once and served from there.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "embed/negotiation.hpp"

namespace waystation::server {

/// The parts of a request that determine the response. Views into the request.
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
  std::string_view file;   // a file's bytes, owned by the site; empty for HEAD and 304
  std::string error_page;  // the body of an error response

  std::string_view body() const { return error_page.empty() ? file : error_page; }
};

/// A snapshot of a folder's files. Immutable, so any thread may use it.
///
/// A client cannot reach a file outside of the folder: a path is decoded once and must be a key of
/// the map. The map contains regular files only. It excludes symbolic links out of the folder, and
/// names that begin with a dot (except .well-known).
///
/// A file 404.html is the page for paths without a file. Its references that begin with "./" count
/// from the folder.
class Site {
 public:
  /// A site without files: every response is 404. `advice` is the text of the error page.
  explicit Site(std::string advice = {});

  /// Reads a folder. Appends a line to `remarks` for each skipped link. Throws std::runtime_error
  /// if the folder cannot be read.
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
    std::map<Coding, Representation> coded;  // from its .gz and .br copies
  };

  SiteResponse missing(const SiteRequest& request) const;

  std::map<std::string, File, std::less<>> files_;  // by path, such as "assets/app-1a2b3c4d.js"
  std::string advice_;
};

}  // namespace waystation::server
