#include "embed/site.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

using namespace waystation::server;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

namespace {

namespace fs = std::filesystem;

class SiteTest : public testing::Test {
 protected:
  SiteTest() {
    std::string name = fs::temp_directory_path() / "waystation-XXXXXX";
    outside_ = mkdtemp(name.data());
    folder_ = outside_ / "www";
    fs::create_directories(folder_ / "assets");
    write("index.html", "<p>hello</p>");
    write("assets/app-Bx3_k2d1.js", "console.log(1)");
  }
  ~SiteTest() override { fs::remove_all(outside_); }

  void write(const std::string& name, std::string_view text) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream{folder_ / name} << text;
  }

  Site site() {
    remarks_.clear();
    return Site::read(folder_.string(), remarks_);
  }

  SiteResponse get(std::string_view path) { return site().answer({.method = "GET", .path = path}); }

  fs::path outside_;
  fs::path folder_;
  std::vector<std::string> remarks_;
};

std::string field(const SiteResponse& response, const std::string& name) {
  const auto start = response.head.find("\r\n" + name + ": ");
  if (start == std::string::npos) return {};
  const auto value = start + name.size() + 4;
  return response.head.substr(value, response.head.find("\r\n", value) - value);
}

}  // namespace

TEST_F(SiteTest, ServesAFileUnchanged) {
  const auto all = site();
  const auto response = all.answer({.method = "GET", .path = "/index.html"});
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.head, testing::StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(response.body(), "<p>hello</p>");
  EXPECT_EQ(field(response, "Content-Length"), "12");
  EXPECT_EQ(field(response, "Content-Type"), "text/html; charset=utf-8");
}

TEST_F(SiteTest, ServesTheIndexOfAFolderButNoListing) {
  write("help/index.html", "help");
  const auto all = site();
  EXPECT_EQ(all.answer({.method = "GET", .path = "/"}).body(), "<p>hello</p>");
  EXPECT_EQ(all.answer({.method = "GET", .path = "/help/"}).body(), "help");
  EXPECT_EQ(all.answer({.method = "GET", .path = "/help"}).status, 404);
  EXPECT_EQ(all.answer({.method = "GET", .path = "/assets/"}).status, 404);
}

TEST_F(SiteTest, SendsNoBodyForHead) {
  const auto all = site();
  const auto get = all.answer({.method = "GET", .path = "/"});
  const auto head = all.answer({.method = "HEAD", .path = "/"});
  EXPECT_EQ(head.head, get.head);
  EXPECT_EQ(head.body(), "");
  const auto missing = all.answer({.method = "HEAD", .path = "/none"});
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body(), "");
  EXPECT_NE(field(missing, "Content-Length"), "0");
}

TEST_F(SiteTest, Answers405WithTheAllowedMethods) {
  for (const auto* method : {"POST", "PUT", "DELETE", "OPTIONS", "get"}) {
    const auto response = site().answer({.method = method, .path = "/"});
    EXPECT_EQ(response.status, 405) << method;
    EXPECT_EQ(field(response, "Allow"), "GET, HEAD");
  }
  EXPECT_EQ(site().answer({.method = "POST", .path = "/none"}).status, 404);
}

TEST_F(SiteTest, RefusesPathsOutsideTheFolder) {
  std::ofstream{outside_ / "secret"} << "secret";
  for (const auto* path : {"/../secret",
                           "/..%2Fsecret",
                           "/%2e%2e/secret",
                           "/assets/../../secret",
                           "/./index.html",
                           "//index.html",
                           "/assets/../index.html",
                           "/index.html/",
                           "/index.html%00",
                           "/%00",
                           "/%",
                           "/%2",
                           "/%zz",
                           "/index%2ehtml%2F",
                           "index.html",
                           "",
                           "\\index.html",
                           "/assets%2Fapp-Bx3_k2d1.js",
                           "http://host/index.html",
                           "/INDEX.HTML"}) {
    EXPECT_EQ(get(path).status, 404) << path;
  }
}

TEST_F(SiteTest, DecodesAPathOnce) {
  write("a b%.txt", "odd");
  EXPECT_EQ(get("/a%20b%25.txt").status, 200);
  EXPECT_EQ(get("/a%2520b%25.txt").status, 404);
  EXPECT_EQ(get("/index%2Ehtml").status, 200);
}

TEST_F(SiteTest, FollowsOnlyLinksInsideTheFolder) {
  fs::create_symlink("index.html", folder_ / "inside.html");
  fs::create_symlink("/etc/hostname", folder_ / "away.txt");
  fs::create_directory_symlink(outside_, folder_ / "up");
  fs::create_symlink("nowhere", folder_ / "broken");
  EXPECT_EQ(get("/inside.html").status, 200);
  EXPECT_EQ(get("/away.txt").status, 404);
  EXPECT_EQ(get("/up/www/index.html").status, 404);
  EXPECT_EQ(remarks_.size(), 3U);
}

TEST_F(SiteTest, FolderMayBeALink) {
  fs::create_directory_symlink(folder_, outside_ / "link");
  std::vector<std::string> remarks;
  const auto all = Site::read((outside_ / "link").string(), remarks);
  EXPECT_EQ(all.file_count(), 2U);
  EXPECT_THAT(remarks, IsEmpty());
}

TEST_F(SiteTest, HidesDotFiles) {
  write(".env", "secret");
  write(".git/config", "secret");
  write(".well-known/security.txt", "mail us");
  EXPECT_EQ(get("/.env").status, 404);
  EXPECT_EQ(get("/.git/config").status, 404);
  EXPECT_EQ(get("/.well-known/security.txt").status, 200);
}

TEST_F(SiteTest, IgnoresSpecialFiles) {
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(get("/pipe").status, 404);
}

TEST_F(SiteTest, EntityTagDependsOnContentOnly) {
  write("same.html", "<p>hello</p>");
  const auto etag = field(get("/"), "ETag");
  EXPECT_THAT(etag, testing::MatchesRegex("\"[0-9a-f]{32}\""));
  EXPECT_EQ(field(get("/same.html"), "ETag"), etag);
  write("index.html", "<p>hello!</p>");
  EXPECT_NE(field(get("/"), "ETag"), etag);
}

TEST_F(SiteTest, Answers304ToAMatchingTag) {
  const auto all = site();
  const auto etag = field(all.answer({.method = "GET", .path = "/"}), "ETag");
  const auto response = all.answer({.method = "GET", .path = "/", .if_none_match = etag});
  EXPECT_EQ(response.status, 304);
  EXPECT_EQ(response.body(), "");
  EXPECT_EQ(field(response, "ETag"), etag);
  EXPECT_EQ(field(response, "Cache-Control"), "no-cache");
  EXPECT_EQ(field(response, "Content-Length"), "");
  EXPECT_EQ(all.answer({.method = "GET", .path = "/", .if_none_match = "\"other\""}).status, 200);
}

TEST_F(SiteTest, MarksFilesWithAHashImmutable) {
  write("assets/logo.svg", "<svg/>");
  write("assets/short-abc.js", "");
  write("assets/a-B-x_k-2d.css", "");
  write("assets/app-Bx3_k2d1.js.map", "");
  write("other/app-Bx3_k2d1.js", "");
  const auto forever = "public, max-age=31536000, immutable";
  EXPECT_EQ(field(get("/assets/app-Bx3_k2d1.js"), "Cache-Control"), forever);
  EXPECT_EQ(field(get("/assets/a-B-x_k-2d.css"), "Cache-Control"), forever);
  EXPECT_EQ(field(get("/assets/app-Bx3_k2d1.js.map"), "Cache-Control"), forever);
  EXPECT_EQ(field(get("/assets/logo.svg"), "Cache-Control"), "no-cache");
  EXPECT_EQ(field(get("/assets/short-abc.js"), "Cache-Control"), "no-cache");
  EXPECT_EQ(field(get("/other/app-Bx3_k2d1.js"), "Cache-Control"), "no-cache");
}

TEST_F(SiteTest, SendsACompressedCopyIfAccepted) {
  write("index.html.gz", "zipped");
  write("index.html.br", "brotli");
  const auto all = site();
  const auto gzip = all.answer({.method = "GET", .path = "/", .accept_encoding = "gzip"});
  EXPECT_EQ(gzip.body(), "zipped");
  EXPECT_EQ(field(gzip, "Content-Encoding"), "gzip");
  EXPECT_EQ(field(gzip, "Content-Length"), "6");
  EXPECT_EQ(field(gzip, "Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(field(gzip, "Vary"), "Accept-Encoding");
  const auto brotli = all.answer({.method = "GET", .path = "/", .accept_encoding = "gzip, br"});
  EXPECT_EQ(brotli.body(), "brotli");
  EXPECT_EQ(field(brotli, "Content-Encoding"), "br");
  const auto plain = all.answer({.method = "GET", .path = "/"});
  EXPECT_EQ(plain.body(), "<p>hello</p>");
  EXPECT_EQ(field(plain, "Content-Encoding"), "");
  EXPECT_EQ(field(plain, "Vary"), "Accept-Encoding");
  EXPECT_NE(field(gzip, "ETag"), field(plain, "ETag"));
}

TEST_F(SiteTest, DoesNotServeCopiesAsFiles) {
  write("index.html.gz", "zipped");
  write("archive.gz", "alone");
  EXPECT_EQ(get("/index.html.gz").status, 404);
  EXPECT_EQ(get("/archive.gz").status, 200);
  EXPECT_EQ(field(get("/archive.gz"), "Vary"), "");
  EXPECT_EQ(site().file_count(), 3U);
}

TEST_F(SiteTest, SendsSecurityHeadersWithEveryResponse) {
  const auto all = site();
  const auto etag = field(all.answer({.method = "GET", .path = "/"}), "ETag");
  for (const auto& response :
       {all.answer({.method = "GET", .path = "/"}), all.answer({.method = "GET", .path = "/none"}),
        all.answer({.method = "POST", .path = "/"}),
        all.answer({.method = "GET", .path = "/", .if_none_match = etag})}) {
    const auto policy = field(response, "Content-Security-Policy");
    EXPECT_THAT(policy, testing::StartsWith("default-src 'none'; "));
    EXPECT_THAT(policy, HasSubstr("script-src 'self';"));
    EXPECT_THAT(policy, HasSubstr("connect-src 'self';"));
    // blob: is for images only. It would let a script run in a page, a frame or a worker.
    EXPECT_THAT(policy, HasSubstr("img-src 'self' blob:;"));
    EXPECT_EQ(policy.find("blob:"), policy.rfind("blob:"));
    EXPECT_THAT(policy, Not(HasSubstr("data:")));
    EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
    EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
    EXPECT_EQ(field(response, "X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(field(response, "Referrer-Policy"), "no-referrer");
    EXPECT_EQ(field(response, "Cross-Origin-Opener-Policy"), "same-origin");
    EXPECT_NE(field(response, "Permissions-Policy"), "");
    EXPECT_EQ(field(response, "Access-Control-Allow-Origin"), "");
  }
}

TEST_F(SiteTest, SendsErrorsAsHtmlOrJson) {
  const auto all = site();
  const auto page = all.answer({.method = "GET", .path = "/none", .accept = "text/html,*/*"});
  EXPECT_EQ(field(page, "Content-Type"), "text/html; charset=utf-8");
  EXPECT_THAT(std::string{page.body()}, HasSubstr("<p>There is nothing here.</p>"));
  const auto json = all.answer({.method = "GET", .path = "/none", .accept = "*/*"});
  EXPECT_EQ(field(json, "Content-Type"), "application/json");
  EXPECT_EQ(json.body(),
            "{\"error\":{\"code\":\"not_found\",\"detail\":\"There is nothing here.\"}}\n");
  EXPECT_EQ(field(json, "Cache-Control"), "no-store");
}

TEST_F(SiteTest, SendsThePageOfTheSiteForAMissingFile) {
  write("404.html", R"(<link href="./a.css"><a href="./">home</a><img src="https://a.example/">)");
  const auto all = site();
  const auto page = [&](std::string_view path, std::string_view method = "GET") {
    return all.answer({.method = method, .path = path, .accept = "text/html"});
  };
  const auto response = page("/none");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(field(response, "Cache-Control"), "no-store");
  EXPECT_EQ(response.body(),
            R"(<link href="./a.css"><a href="./">home</a><img src="https://a.example/">)");
  EXPECT_EQ(field(response, "Content-Length"), std::to_string(response.body().size()));
  EXPECT_EQ(
      page("/a/b/none").body(),
      R"(<link href="./../../a.css"><a href="./../../">home</a><img src="https://a.example/">)");
  EXPECT_EQ(page("/none", "HEAD").body(), "");
  EXPECT_EQ(field(page("/none", "HEAD"), "Content-Length"), field(response, "Content-Length"));
  EXPECT_EQ(field(all.answer({.method = "GET", .path = "/none"}), "Content-Type"),
            "application/json");
  EXPECT_LT(page(std::string(16'000, '/')).body().size(), 200U);
  EXPECT_EQ(page("/").status, 200);
}

TEST_F(SiteTest, NeverEchoesTheRequest) {
  const auto response =
      site().answer({.method = "GET", .path = "/<script>alert(1)</script>", .accept = "text/html"});
  EXPECT_THAT(std::string{response.body()}, Not(HasSubstr("script")));
}

TEST_F(SiteTest, CountsFilesAndBytes) {
  write("index.html.gz", "zipped");
  EXPECT_EQ(site().file_count(), 2U);
  EXPECT_EQ(site().byte_count(), 12U + 14U + 6U);
}

TEST_F(SiteTest, ServesFilesAfterTheFolderIsDeleted) {
  const auto all = site();
  fs::remove_all(folder_);
  EXPECT_EQ(all.answer({.method = "GET", .path = "/"}).body(), "<p>hello</p>");
}

TEST_F(SiteTest, NamesAnUnreadableFile) {
  std::vector<std::string> remarks;
  EXPECT_THROW(Site::read((folder_ / "none").string(), remarks), std::exception);
  EXPECT_THROW(Site::read((folder_ / "index.html").string(), remarks), std::exception);
}

TEST(Site, WithoutAFolderExplainsHowToSetOne) {
  const Site site{"Build the page."};
  const auto response = site.answer({.method = "GET", .path = "/", .accept = "text/html"});
  EXPECT_EQ(response.status, 404);
  EXPECT_THAT(std::string{response.body()}, HasSubstr("Build the page."));
}
