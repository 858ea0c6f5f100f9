#include "audit/audit_file.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "unit/audit/audit_files.hpp"

namespace waystation::test {
namespace {

using namespace waystation::test;
using ::testing::HasSubstr;

/// The text of the refusal; empty if there is none.
template <typename F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const AuditRefused& refused) {
    return refused.what();
  }
  return {};
}

TEST(AuditFile, FollowsLinksInTheFolderAndNotAtTheEnd) {
  Folder folder;
  std::filesystem::create_directory(folder.file("real"));
  std::filesystem::create_directory_symlink(folder.file("real"), folder.file("link"));
  const auto real = std::filesystem::canonical(folder.path()).string();
  EXPECT_EQ(resolve_audit_path(folder.file("link/audit.db")), real + "/real/audit.db");
  std::filesystem::create_symlink("/etc/passwd", folder.file("own"));
  EXPECT_EQ(resolve_audit_path(folder.file("own")), real + "/own");
  EXPECT_THAT(refusal([&] { check_audit_file(real + "/own"); }), HasSubstr("a link"));
}

TEST(AuditFile, RefusesOtherKindsOfFiles) {
  Folder folder;
  EXPECT_THAT(refusal([] { resolve_audit_path(""); }), HasSubstr("names no file"));
  EXPECT_THAT(refusal([] { resolve_audit_path("/tmp/"); }), HasSubstr("names no file"));
  EXPECT_THAT(refusal([] { resolve_audit_path(".."); }), HasSubstr("a folder; allowed"));
  EXPECT_THAT(refusal([&] { resolve_audit_path(folder.file("none/audit.db")); }),
              HasSubstr("create the folder first"));
  EXPECT_THAT(refusal([&] { check_audit_file(folder.path()); }),
              HasSubstr("not a file but a folder; name a file (it need not exist)"));
  EXPECT_THAT(refusal([&] { check_readable_audit_file(folder.path()); }),
              HasSubstr("not a file but a folder; name the file that the server writes"));
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal([&] { check_audit_file(folder.file("pipe")); }), HasSubstr("not a file"));
}

TEST(AuditFile, RefusesAFileWithHardLinks) {
  Folder folder;
  std::ofstream(folder.file("a")) << "x";
  std::filesystem::create_hard_link(folder.file("a"), folder.file("b"));
  EXPECT_THAT(refusal([&] { check_audit_file(folder.file("b")); }), HasSubstr("hard links"));
}

TEST(AuditFile, RefusesAFileOfAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make a file of another user's";
  Folder folder;
  std::ofstream(folder.file("a")) << "x";
  ASSERT_EQ(::chown(folder.file("a").c_str(), 4711, 4711), 0);
  EXPECT_THAT(refusal([&] { check_audit_file(folder.file("a")); }),
              HasSubstr("belongs to user 4711"));
  EXPECT_EQ(refusal([&] { check_readable_audit_file(folder.file("a")); }), "");  // root may read
}

TEST(AuditFile, ChangesNothingWhenItChecks) {
  Folder folder;
  check_before_start(folder.file("audit.db"));
  EXPECT_TRUE(folder.names().empty());
}

TEST(AuditFile, ChangesOnlyTheModeOfTheFileItself) {
  Folder folder;
  const auto mode_of = [](const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 0777U;
  };
  std::ofstream(folder.file("victim")) << "x";
  ASSERT_EQ(::chmod(folder.file("victim").c_str(), 0644), 0);
  std::ofstream(folder.file("a")) << "x";
  std::filesystem::create_symlink(folder.file("victim"), folder.file("link"));
  // An attacker who repeatedly replaces the file by a link.
  std::atomic<bool> is_over = false;
  std::thread swapper([&] {
    while (!is_over) {
      ::renameat2(AT_FDCWD, folder.file("a").c_str(), AT_FDCWD, folder.file("link").c_str(),
                  RENAME_EXCHANGE);
    }
  });
  int made = 0;
  for (int i = 0; i < 20'000; ++i) {
    for (const char* name : {"a", "link"}) {  // whichever is the file
      ::fchmodat(AT_FDCWD, folder.file(name).c_str(), 0640, AT_SYMLINK_NOFOLLOW);
    }
    try {
      made += make_private(folder.file("a")) ? 1 : 0;
    } catch (const AuditRefused&) {
    } catch (const std::system_error&) {
    }
  }
  is_over = true;
  swapper.join();
  EXPECT_GT(made, 0);
  EXPECT_EQ(mode_of(folder.file("victim")), 0644U);
}

TEST(AuditFile, SetsAsideTheFileAndItsWalUnderAnUnusedName) {
  Folder folder;
  constexpr std::int64_t kNow = 1'700'000'000'123;
  std::vector<std::string> names;
  for (const char* text : {"first", "second"}) {
    std::ofstream(folder.file("a")) << text;
    std::ofstream(folder.file("a-wal")) << text;
    names.push_back(set_aside(folder.file("a"), kNow));
  }
  EXPECT_EQ(names[0], folder.file("a.corrupt-20231114T221320Z"));
  EXPECT_EQ(names[1], folder.file("a.corrupt-20231114T221320Z-2"));
  for (const auto& name : names) EXPECT_TRUE(std::filesystem::exists(name + "-wal"));
  EXPECT_FALSE(std::filesystem::exists(folder.file("a")));
}

}  // namespace
}  // namespace waystation::test
