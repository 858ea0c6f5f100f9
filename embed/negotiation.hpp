// HTTP content negotiation: media types, content codings, entity tags.
#pragma once

#include <span>
#include <string_view>

namespace waystation::server {

enum class Coding { identity, gzip, brotli };

/// The Content-Type for a file name, by its extension. application/octet-stream if the extension is
/// unknown.
std::string_view content_type(std::string_view path);

/// The best of `available` that Accept-Encoding accepts (RFC 9110, section 12.5.3): the highest
/// weight, then the smaller coding. Identity if the field is empty or refuses everything.
Coding choose_coding(std::string_view accept_encoding, std::span<const Coding> available);

/// Whether an If-None-Match field matches the entity tag, compared weakly (section 13.1.2).
bool etag_matches(std::string_view if_none_match, std::string_view etag);

}  // namespace waystation::server
