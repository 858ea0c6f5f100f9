#include "embed/negotiation.hpp"

#include <gtest/gtest.h>

#include <array>

using namespace waystation::server;

namespace {

constexpr std::array kBoth = {Coding::gzip, Coding::brotli};
constexpr std::array kGzip = {Coding::gzip};

}  // namespace

TEST(ContentType, FollowsTheExtension) {
  EXPECT_EQ(content_type("a.js"), "text/javascript; charset=utf-8");
  EXPECT_EQ(content_type("a.mjs"), "text/javascript; charset=utf-8");
  EXPECT_EQ(content_type("assets/a.css"), "text/css; charset=utf-8");
  EXPECT_EQ(content_type("index.html"), "text/html; charset=utf-8");
  EXPECT_EQ(content_type("icon.svg"), "image/svg+xml");
  EXPECT_EQ(content_type("a.json"), "application/json");
  EXPECT_EQ(content_type("a.js.map"), "application/json");
  EXPECT_EQ(content_type("manifest.webmanifest"), "application/manifest+json");
  EXPECT_EQ(content_type("a.woff2"), "font/woff2");
  EXPECT_EQ(content_type("a.png"), "image/png");
  EXPECT_EQ(content_type("favicon.ico"), "image/x-icon");
  EXPECT_EQ(content_type("robots.txt"), "text/plain; charset=utf-8");
  EXPECT_EQ(content_type("LOGO.PNG"), "image/png");
}

TEST(ContentType, IsOctetStreamIfUnknown) {
  for (const auto* path : {"", "a", "a.", "a.exe", "html", ".gitignore", "a.html/b"}) {
    EXPECT_EQ(content_type(path), "application/octet-stream") << path;
  }
}

TEST(Coding, IsIdentityWithoutAnOffer) {
  EXPECT_EQ(choose_coding("", kBoth), Coding::identity);
  EXPECT_EQ(choose_coding("gzip, br", {}), Coding::identity);
  EXPECT_EQ(choose_coding("deflate, zstd", kBoth), Coding::identity);
}

TEST(Coding, PrefersTheSmallerOfEquals) {
  EXPECT_EQ(choose_coding("gzip, deflate, br", kBoth), Coding::brotli);
  EXPECT_EQ(choose_coding("br, gzip", kBoth), Coding::brotli);
  EXPECT_EQ(choose_coding("gzip, deflate, br", kGzip), Coding::gzip);
  EXPECT_EQ(choose_coding("*", kBoth), Coding::brotli);
}

TEST(Coding, FollowsTheWeights) {
  EXPECT_EQ(choose_coding("br;q=0.5, gzip;q=0.8", kBoth), Coding::gzip);
  EXPECT_EQ(choose_coding("gzip ; Q=0.301 , br;q=0.3", kBoth), Coding::gzip);
  EXPECT_EQ(choose_coding("br;q=0, gzip", kBoth), Coding::gzip);
  EXPECT_EQ(choose_coding("br;q=0, *", kBoth), Coding::gzip);
  EXPECT_EQ(choose_coding("identity;q=1, gzip;q=0.5", kBoth), Coding::identity);
  EXPECT_EQ(choose_coding("gzip;q=0.5", kBoth), Coding::gzip);
}

TEST(Coding, IsNeverARefusedCoding) {
  EXPECT_EQ(choose_coding("br;q=0, gzip;q=0", kBoth), Coding::identity);
  EXPECT_EQ(choose_coding("gzip;q=0.000", kBoth), Coding::identity);
  EXPECT_EQ(choose_coding("*;q=0", kBoth), Coding::identity);
}

TEST(Coding, IgnoresCodingsWithAMalformedWeight) {
  for (const auto* weight : {"x", "", "-1", "2", "0.x", "1x", ".5", "0,5"}) {
    EXPECT_EQ(choose_coding(std::string{"br;q="} + weight, kBoth), Coding::identity) << weight;
  }
}

TEST(Coding, MatchesWholeNames) {
  EXPECT_EQ(choose_coding("GZIP", kBoth), Coding::gzip);
  EXPECT_EQ(choose_coding("gzipped, bro", kBoth), Coding::identity);
}

TEST(EntityTag, MatchesOneOfAList) {
  EXPECT_TRUE(etag_matches("\"a\"", "\"a\""));
  EXPECT_TRUE(etag_matches("\"x\", \"a\"", "\"a\""));
  EXPECT_TRUE(etag_matches("W/\"a\"", "\"a\""));
  EXPECT_TRUE(etag_matches("*", "\"a\""));
  EXPECT_FALSE(etag_matches("", "\"a\""));
  EXPECT_FALSE(etag_matches("a", "\"a\""));
  EXPECT_FALSE(etag_matches("\"A\"", "\"a\""));
  EXPECT_FALSE(etag_matches("\"ab\"", "\"a\""));
}
