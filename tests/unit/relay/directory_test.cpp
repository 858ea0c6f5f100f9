#include "relay/directory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace waystation::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A member that ignores everything. `Base` is ChatMember or PushMember.
template <typename Base>
class NullMember final : public Base {
 public:
  NullMember() : Base(Protocol::plain) {}
  void on_joined() noexcept override {}
  bool send(const OutgoingText&, const Message*) override { return true; }
  void refresh(std::string, const ShortText&) override {}
  void end_session() override {}
  void go_away() override {}
  void throttle(std::int64_t) override {}
};

class DirectoryTest : public testing::Test {
 protected:
  Directory directory{RateLimit{}};
};

TEST_F(DirectoryTest, AChatMemberIsPresentFromAddToRemove) {
  NullMember<ChatMember> bob;
  directory.reserve(bob, "alice_bob", "bob");
  ASSERT_NE(bob.group(), nullptr);
  EXPECT_EQ(bob.side(), Side::hi);
  EXPECT_FALSE(bob.is_joined());
  EXPECT_FALSE(bob.group()->has_socket(Side::hi));
  EXPECT_THAT(directory.presence("bob").groups, IsEmpty());

  directory.add(bob);
  EXPECT_TRUE(bob.is_joined());
  EXPECT_TRUE(bob.group()->has_socket(Side::hi));
  EXPECT_FALSE(bob.group()->has_socket(Side::lo));
  EXPECT_THAT(directory.presence("bob").groups, ElementsAre("alice_bob"));

  directory.remove(bob);
  EXPECT_FALSE(bob.is_joined());
  EXPECT_THAT(bob.group()->members, IsEmpty());
  EXPECT_THAT(directory.presence("bob").groups, IsEmpty());
  EXPECT_EQ(directory.find_group("alice_bob"), bob.group());

  directory.release(bob);
  EXPECT_EQ(bob.group(), nullptr);
  EXPECT_EQ(directory.find_group("alice_bob"), nullptr);
  EXPECT_EQ(directory.find_user("bob"), nullptr);
}

TEST_F(DirectoryTest, APushMemberIsPresentFromAddToRemove) {
  NullMember<PushMember> bob;
  directory.reserve(bob, "bob");
  EXPECT_EQ(directory.presence("bob").push_sockets, 0U);
  directory.add(bob);
  EXPECT_EQ(directory.presence("bob").push_sockets, 1U);
  directory.remove(bob);
  EXPECT_EQ(directory.presence("bob").push_sockets, 0U);
  EXPECT_EQ(directory.find_user("bob"), bob.user());
  directory.release(bob);
  EXPECT_EQ(directory.find_user("bob"), nullptr);
}

TEST_F(DirectoryTest, MembersThatWereNotAddedCanBeReleased) {
  NullMember<ChatMember> chat;
  NullMember<PushMember> push;
  directory.reserve(chat, "alice_bob", "");
  directory.reserve(push, "bob");
  directory.remove(chat);
  directory.release(chat);
  EXPECT_EQ(directory.find_group("alice_bob"), nullptr);
  EXPECT_EQ(directory.find_user("alice"), nullptr);
  EXPECT_EQ(directory.find_user("bob"), push.user());
  directory.remove(push);
  directory.release(push);
  EXPECT_EQ(directory.find_user("bob"), nullptr);
}

TEST_F(DirectoryTest, ReleasingAMemberThatWasNotAddedLeavesTheOthers) {
  NullMember<ChatMember> chat;
  NullMember<ChatMember> waiting_chat;
  NullMember<PushMember> push;
  NullMember<PushMember> waiting_push;
  directory.reserve(chat, "alice_bob", "bob");
  directory.add(chat);
  directory.reserve(push, "bob");
  directory.add(push);
  directory.reserve(waiting_chat, "alice_bob", "alice");
  directory.reserve(waiting_push, "bob");
  directory.remove(waiting_chat);
  directory.remove(waiting_push);
  EXPECT_THAT(chat.group()->members, ElementsAre(&chat));
  EXPECT_FALSE(chat.group()->has_socket(Side::lo));
  EXPECT_THAT(push.user()->push, ElementsAre(&push));
  directory.release(waiting_chat);
  directory.release(waiting_push);
  directory.remove(chat);
  directory.release(chat);
  directory.remove(push);
  directory.release(push);
}

TEST_F(DirectoryTest, AGroupExistsWhileAMemberIsReserved) {
  NullMember<ChatMember> joined;
  NullMember<ChatMember> waiting;
  directory.reserve(joined, "alice_bob", "alice");
  directory.add(joined);
  directory.reserve(waiting, "alice_bob", "bob");
  directory.remove(joined);
  directory.release(joined);
  EXPECT_EQ(directory.find_group("alice_bob"), waiting.group());
  directory.add(waiting);
  EXPECT_THAT(waiting.group()->members, ElementsAre(&waiting));
  directory.remove(waiting);
  directory.release(waiting);
  EXPECT_EQ(directory.group_count(), 0U);
}

TEST_F(DirectoryTest, AnyNumberOfReservedMembersCanBeAddedWithoutMemory) {
  std::vector<NullMember<ChatMember>> chats(100);
  std::vector<NullMember<PushMember>> pushes(100);
  for (auto& chat : chats) directory.reserve(chat, "alice_bob", "bob");
  for (auto& push : pushes) directory.reserve(push, "bob");
  const auto& group = *chats[0].group();
  const auto& user = *pushes[0].user();
  EXPECT_GE(group.members.capacity(), chats.size());
  EXPECT_GE(user.push.capacity(), pushes.size());
  for (auto& chat : chats) directory.add(chat);
  for (auto& push : pushes) directory.add(push);
  EXPECT_EQ(group.members.size(), chats.size());
  EXPECT_EQ(user.push.size(), pushes.size());
  for (auto& chat : chats) {
    directory.remove(chat);
    directory.release(chat);
  }
  for (auto& push : pushes) {
    directory.remove(push);
    directory.release(push);
  }
}

}  // namespace
}  // namespace waystation::test
