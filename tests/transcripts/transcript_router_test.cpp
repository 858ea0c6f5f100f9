// Plays the scenes of this folder against the router alone: one test for each scene.
#include <gtest/gtest.h>

#include <cctype>
#include <charconv>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <variant>

#include "transcripts/scene.hpp"
#include "unit/relay/fake_members.hpp"

namespace waystation::test {
namespace {

/// A socket of a scene, of either kind.
struct Actor {
  std::unique_ptr<FakeChat> chat;
  std::unique_ptr<FakePush> push;

  Inbox& inbox() { return chat ? static_cast<Inbox&>(*chat) : *push; }
  void say(std::string_view text, const Now& now) {
    if (chat) {
      chat->say(text, now);
    } else {
      push->say(text, now);
    }
  }
};

/// Removes the text up to `end` from the front of `text` and returns it without `end`. Without an
/// `end` it removes all text.
std::string take_until(std::string& text, std::string_view end) {
  const auto at = text.find(end);
  auto taken = text.substr(0, at);
  text = at == std::string::npos ? "" : text.substr(at + end.size());
  return taken;
}

/// "/ws/chat/alice_bob/" is "alice_bob".
std::string last_of_path(std::string path) {
  if (path.ends_with('/')) path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

std::size_t number(const std::string& text) {
  return std::stoul(text);
}

class RouterPlayer : public testing::Test {
 public:
  explicit RouterPlayer(const Scene& scene) : scene_(scene) {}

  void TestBody() override {
    for (const auto& line : scene_.lines) {
      SCOPED_TRACE(scene_.file.filename().string() + ":" + std::to_string(line.number) + ": " +
                   line.text);
      // Each step has a different time. The difference is too short to affect a rate.
      ++now_.wall_ms;
      play(line.text);
      relay_.work();
      if (HasFailure()) return;
    }
    for (auto& [name, actor] : actors_) {
      EXPECT_EQ(actor.inbox().next(), "") << name << " got what the scene does not expect";
    }
  }

 private:
  void play(std::string line) {
    auto subject = take_until(line, " ");
    if (subject == "with") return configure(line);
    if (subject == "the") return play_application(line);
    const auto verb = take_until(line, " ");
    if (verb == "opens") return open(subject, line);
    const auto found = actors_.find(subject);
    ASSERT_NE(found, actors_.end()) << subject << " has no socket";
    auto& actor = found->second;
    if (verb == ">") {
      actor.say(line, now_);
    } else if (verb == "<") {
      auto frame = actor.inbox().next();
      if (frame.empty()) {
        // What the relay sends some time later.
        relay_.work_after(Reachability::kGraceMs);
        frame = actor.inbox().next();
      }
      EXPECT_TRUE(is_expected(line, frame)) << "  got " << (frame.empty() ? "nothing" : frame);
    } else if (verb == "receives") {
      ASSERT_EQ(line, "nothing");
      EXPECT_EQ(actor.inbox().next(), "");
    } else if (verb == "closes") {
      EXPECT_EQ(actor.inbox().next(), "");
      actors_.erase(found);
    } else if (verb == "accepts") {
      actor.inbox().capacity = number(take_until(line, " "));
      ASSERT_EQ(line, "more");
    } else {
      FAIL() << "the router alone has no \"" << verb << '"';
    }
  }

  void configure(const std::string& options) {
    RateLimit limit;
    std::istringstream in(options);
    std::string name;
    std::uint32_t value = 0;
    if (options == "--show-reachable=false") return relay_.fanout.set_show_reachable(false);
    while (in >> name >> value) {
      if (name == "--messages-per-second") {
        limit.per_second = value;
      } else if (name == "--message-burst") {
        limit.burst = value;
      } else {
        FAIL() << "the router alone has no " << name;
      }
    }
    relay_.directory.set_rate_limit(limit);
  }

  void open(const std::string& name, std::string line) {
    ASSERT_EQ(actors_.count(name), 0U) << name << " is open already";
    const auto path = take_until(line, " ");
    const bool anonymous = line.starts_with("anonymously");
    const auto protocol = line.ends_with("as waystation.v1") ? Protocol::v1 : Protocol::plain;
    const auto user = anonymous ? "" : name.substr(0, name.find('.'));
    Actor actor;
    if (path.starts_with("/push/")) {
      actor.push = std::make_unique<FakePush>(relay_.router, protocol, last_of_path(path));
    } else {
      actor.chat = std::make_unique<FakeChat>(relay_.router, protocol, last_of_path(path), user);
    }
    actors_.emplace(name, std::move(actor));
  }

  void play_application(std::string line) {
    ASSERT_EQ(take_until(line, " "), "application");
    const auto verb = take_until(line, " ");
    if (verb == "pushes") {
      // The value can contain anything, so the words after it are searched from the end.
      const auto to = line.rfind(" to ");
      ASSERT_NE(to, std::string::npos);
      auto rest = line.substr(to + 4);
      const auto user = take_until(rest, ", reaching ");
      EXPECT_EQ(relay_.notify(user, line.substr(0, to), now_), number(rest));
    } else if (verb == "finds") {
      const auto user = take_until(line, " with ");
      const auto sockets = number(take_until(line, " push sockets, in "));
      const auto presence = relay_.presence(user);
      EXPECT_EQ(presence.push_sockets, sockets);
      std::string groups;
      for (const auto& group : presence.groups) groups += (groups.empty() ? "" : " ") + group;
      EXPECT_EQ(groups.empty() ? "no group" : groups, line);
    } else {
      FAIL() << "the router alone has no \"" << verb << '"';
    }
  }

  const Scene& scene_;
  Now now_{1700000000000, 1000};
  LocalRelay relay_;
  std::map<std::string, Actor> actors_;
};

/// "Two tabs of one user" is "TwoTabsOfOneUser".
std::string test_name(std::string_view heading) {
  std::string name;
  bool capital = true;
  for (const char c : heading) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
      capital = c != '\'';
      continue;
    }
    name += capital ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    capital = false;
  }
  return name;
}

}  // namespace
}  // namespace waystation::test

int main(int argc, char** argv) {
  using namespace waystation::test;
  testing::InitGoogleTest(&argc, argv);
  const auto scenes = read_scenes(WAYSTATION_SCENES);
  for (const auto& scene : scenes) {
    if (scene.player == "transport") continue;
    auto suite = scene.file.stem().string();
    testing::RegisterTest(("Scenes_" + suite).c_str(), test_name(scene.heading).c_str(), nullptr,
                          nullptr, scene.file.c_str(), scene.number,
                          [&scene]() -> testing::Test* { return new RouterPlayer(scene); });
  }
  return RUN_ALL_TESTS();
}
