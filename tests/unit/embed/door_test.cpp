#include "embed/door.hpp"

#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <waystation/waystation.h>

#include <fstream>
#include <string>

#include "embed/options.hpp"

using namespace waystation::server;
using testing::HasSubstr;

namespace {

class DoorTest : public testing::Test {
 protected:
  DoorTest() : folder_(testing::TempDir() + "waystation-door-XXXXXX") {
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    path_ = folder_ + "/door";
  }
  ~DoorTest() override {
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }

  /// The mistake that open() reports.
  static std::string mistake(const std::string& address, const std::string& group = "") {
    try {
      (void)Door::open(address, group);
    } catch (const ConfigurationError& error) {
      return error.what();
    }
    return "none";
  }

  bool can_connect() const {
    const int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    const int result = connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address);
    close(client);
    return result == 0;
  }

  bool exists() const {
    struct stat found {};
    return lstat(path_.c_str(), &found) == 0;
  }

  std::string folder_, path_;
};

TEST_F(DoorTest, HasAnAbsolutePathOrANameFromSystemd) {
  for (const auto* good : {"", "/run/door", "unix:/run/door", "fd:door"}) {
    EXPECT_EQ(door_address_problem(good), "") << good;
  }
  EXPECT_EQ(door_address_problem("/" + std::string(106, 'x')), "");
  EXPECT_EQ(door_address_problem("unix:/" + std::string(106, 'x')), "");
  EXPECT_THAT(door_address_problem("/" + std::string(107, 'x')), HasSubstr("longer"));
  for (const auto* bad : {"door", "unix:", "unix:door", "./door", "127.0.0.1:80", "unix:unix:/a"}) {
    EXPECT_THAT(door_address_problem(bad), HasSubstr("absolute")) << bad;
  }
  EXPECT_THAT(door_address_problem("fd:"), HasSubstr("no name"));
}

TEST_F(DoorTest, IsNotOpenedWithoutAnAddress) {
  EXPECT_FALSE(Door::open("", "no such group"));
}

TEST_F(DoorTest, MakesAFileForItsGroupAndRemovesItAtTheEnd) {
  const auto* const group = getgrgid(getgid());
  ASSERT_NE(group, nullptr);
  for (const auto& [address, name] :
       {std::pair{path_, std::string()}, std::pair{"unix:" + path_, std::string(group->gr_name)}}) {
    {
      const auto door = Door::open(address, name);
      ASSERT_TRUE(door);
      EXPECT_EQ(door->name(), path_);
      struct stat found {};
      ASSERT_EQ(lstat(path_.c_str(), &found), 0);
      EXPECT_EQ(found.st_mode, S_IFSOCK | S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP);
      EXPECT_EQ(found.st_gid, getgid());
      EXPECT_TRUE(can_connect());
    }
    EXPECT_FALSE(exists());
  }
}

TEST_F(DoorTest, NeedsAGroupThatExists) {
  EXPECT_THAT(mistake(path_, "no such group"),
              HasSubstr("handover_group = \"no such group\": there is no such group; allowed: "));
  EXPECT_FALSE(exists());
}

TEST_F(DoorTest, ReplacesTheFileOfAServerThatHasEnded) {
  const int old = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(old, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(old, 0), 0);
  EXPECT_THAT(mistake(path_), HasSubstr("another process listens there"));
  // Also when the old server is so busy that its backlog is full.
  int result = 0;
  while (result == 0) {
    const int waiting = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    result = connect(waiting, reinterpret_cast<sockaddr*>(&address), sizeof address);
    if (result != 0) {
      EXPECT_EQ(errno, EAGAIN);
    }
    close(waiting);  // it stays in the backlog
  }
  EXPECT_THAT(mistake(path_), HasSubstr("another process listens there"));
  close(old);
  EXPECT_TRUE(exists());
  const auto door = Door::open(path_, "");
  EXPECT_TRUE(can_connect());
}

TEST_F(DoorTest, KeepsAFileThatIsNoSocketOrAnotherServers) {
  { std::ofstream(path_) << "a file"; }
  EXPECT_THAT(mistake(path_), HasSubstr("not a socket"));
  EXPECT_TRUE(exists());
  unlink(path_.c_str());
  {
    const auto door = Door::open(path_, "");
    unlink(path_.c_str());
    { std::ofstream(path_) << "another file"; }
  }
  EXPECT_TRUE(exists());
}

TEST_F(DoorTest, NeedsAFolder) {
  EXPECT_THROW((void)Door::open(folder_ + "/none/door", ""), std::runtime_error);
}

TEST_F(DoorTest, NeedsASocketFromSystemd) {
  EXPECT_THAT(mistake("fd:door"), HasSubstr("handover = \"fd:door\": systemd passed no socket"));
}

}  // namespace
