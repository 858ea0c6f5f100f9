#include "cluster/seal.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace waystation::test {
namespace {

constexpr std::string_view kKeyA = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
constexpr std::string_view kKeyB = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

std::shared_ptr<const SealKeys> keys(std::string_view first, std::string_view second = {}) {
  auto parsed = SealKeys::parse(std::string(first) + "\n" + std::string(second));
  EXPECT_TRUE(parsed);
  return *parsed;
}

std::string problem_with(std::string_view file) {
  const auto parsed = SealKeys::parse(file);
  EXPECT_FALSE(parsed);
  return parsed ? "" : parsed.error();
}

/// A text that was sealed behind a header.
struct Sealed {
  Sealed(Sealer& sealer, std::string_view head, std::string_view text)
      : key_id(sealer.key_id()),
        origin(sealer.incarnation()),
        sequence(sealer.next_sequence()),
        header(head),
        bytes("unrelated") {
    const auto begin = bytes.size();
    bytes += header;
    sealer.seal(bytes, begin, text);
    bytes.erase(0, begin + header.size());
  }

  std::optional<std::string> open(Opener& opener,
                                  Opener::Copy copy = Opener::Copy::receiver) const {
    std::string text = "of the last one";
    if (opener.open(key_id, origin, sequence, copy, header, bytes, text)) return text;
    EXPECT_EQ(text, "") << "nothing of a changed text is kept";
    return std::nullopt;
  }

  std::uint32_t key_id;
  Incarnation origin;
  std::uint64_t sequence;
  std::string header;
  std::string bytes;
};

TEST(SealKeys, AFileHasALineForEachKey) {
  const auto parsed =
      SealKeys::parse("# the new one\r\n\n  " + std::string(kKeyB) + " \n" + std::string(kKeyA));
  ASSERT_TRUE(parsed) << parsed.error();
  ASSERT_EQ((*parsed)->keys().size(), 2U);
  EXPECT_EQ((*parsed)->keys()[0].bytes[0], 1);
  EXPECT_EQ((*parsed)->keys()[1].bytes[0], 0);
  EXPECT_NE((*parsed)->keys()[0].id, (*parsed)->keys()[1].id);
}

TEST(SealKeys, ProblemsNameTheLineAndNoKey) {
  EXPECT_EQ(problem_with(""), "it holds no key");
  EXPECT_EQ(problem_with("# nothing\n"), "it holds no key");
  const auto not_a_key = "not base64 of 32 bytes; `openssl rand -base64 32` makes a key";
  EXPECT_EQ(problem_with("\nAAAA\n"), std::string("line 2: ") + not_a_key);
  EXPECT_EQ(problem_with("no key"), std::string("line 1: ") + not_a_key);
  EXPECT_EQ(problem_with(std::string(kKeyA) + "\n" + std::string(kKeyA)),
            "line 2: the same key again");
  std::string many;
  for (char c = 'A'; c <= 'I'; ++c) many += std::string(kKeyA).replace(0, 1, 1, c) + "\n";
  EXPECT_EQ(problem_with(many), "line 9: over 8 keys");
}

TEST(Seal, OpensWhatAnotherNodeSealed) {
  Sealer sealer(*keys(kKeyA), "main", Incarnation::random());
  Opener opener(keys(kKeyA), "main");
  for (const auto& text : {std::string(), std::string("hello"), std::string(100'000, 'x')}) {
    const Sealed sealed(sealer, "header", text);
    EXPECT_EQ(sealed.bytes.size(), text.size() + Sealer::kTagBytes);
    EXPECT_EQ(sealed.open(opener), text);
  }
}

TEST(Seal, EachCopyIsOpenedOnce) {
  using Copy = Opener::Copy;
  Sealer sealer(*keys(kKeyA), "main", Incarnation::random());
  Sealer other_node(*keys(kKeyA), "main", Incarnation::random());
  Opener opener(keys(kKeyA), "main");
  const Sealed first(sealer, "header", "first");
  const Sealed lost(sealer, "header", "lost");
  const Sealed third(sealer, "header", "third");
  const Sealed other(other_node, "header", "other");
  EXPECT_EQ(first.open(opener, Copy::receiver), "first");
  EXPECT_FALSE(first.open(opener, Copy::receiver));
  EXPECT_EQ(first.open(opener, Copy::sender), "first");
  EXPECT_FALSE(first.open(opener, Copy::sender));
  EXPECT_FALSE(first.open(opener, Copy::receiver));
  EXPECT_EQ(third.open(opener, Copy::sender), "third");
  EXPECT_FALSE(lost.open(opener, Copy::receiver)) << "a later one was opened";
  EXPECT_EQ(third.open(opener, Copy::receiver), "third");
  EXPECT_EQ(other.open(opener), "other") << "each sealer counts for itself";
}

TEST(Seal, ATextThatIsNotAuthenticChangesNothing) {
  Sealer sealer(*keys(kKeyA), "main", Incarnation::random());
  Opener opener(keys(kKeyA), "main");
  const Sealed sealed(sealer, "header", "hello");
  auto later = sealed;
  later.sequence += 1000;
  EXPECT_FALSE(later.open(opener));
  for (std::size_t i = 0; i < 2 * Opener::kMaxPeers; ++i) {
    auto invented = sealed;
    invented.origin = Incarnation::random();
    EXPECT_FALSE(invented.open(opener));
  }
  EXPECT_EQ(opener.peer_count(), 0U);
  EXPECT_EQ(sealed.open(opener), "hello");
  EXPECT_EQ(opener.peer_count(), 1U);
}

TEST(Seal, AnyChangeIsNoticed) {
  Sealer sealer(*keys(kKeyA), "main", Incarnation::random());
  Opener opener(keys(kKeyA), "main");
  const Sealed sealed(sealer, "header", "hello");
  for (std::size_t i = 0; i < sealed.bytes.size() * 8; ++i) {
    auto changed = sealed;
    changed.bytes[i / 8] = static_cast<char>(changed.bytes[i / 8] ^ 1 << (i % 8));
    EXPECT_FALSE(changed.open(opener)) << "bit " << i;
  }
  for (std::size_t size = 0; size < sealed.bytes.size(); ++size) {
    auto changed = sealed;
    changed.bytes.resize(size);
    EXPECT_FALSE(changed.open(opener)) << size << " bytes";
  }
  auto changed = sealed;
  changed.header = "Header";
  EXPECT_FALSE(changed.open(opener));
  changed = sealed;
  ++changed.sequence;
  EXPECT_FALSE(changed.open(opener));
  changed = sealed;
  changed.origin.bytes[0] ^= 1;
  EXPECT_FALSE(changed.open(opener));
  changed = sealed;
  changed.key_id ^= 1;
  EXPECT_FALSE(changed.open(opener));
  EXPECT_EQ(sealed.open(opener), "hello");
}

TEST(Seal, AnotherClusterOrKeyOpensNothing) {
  Sealer sealer(*keys(kKeyA), "main", Incarnation::random());
  const Sealed sealed(sealer, "header", "hello");
  Opener other_cluster(keys(kKeyA), "test");
  EXPECT_FALSE(sealed.open(other_cluster));
  Opener other_key(keys(kKeyB), "main");
  EXPECT_FALSE(sealed.open(other_key));
}

TEST(Seal, KeysAreChangedInThreeSteps) {
  const auto old_keys = keys(kKeyA);
  const auto added = keys(kKeyA, kKeyB);
  const auto moved = keys(kKeyB, kKeyA);
  const auto removed = keys(kKeyB);
  // At each moment two neighbours are in use.
  for (const auto& [one, other] :
       {std::pair(old_keys, added), std::pair(added, moved), std::pair(moved, removed)}) {
    for (const auto& [from, to] : {std::pair(one, other), std::pair(other, one)}) {
      Sealer sealer(*from, "main", Incarnation::random());
      Opener opener(to, "main");
      EXPECT_EQ(Sealed(sealer, "h", "hello").open(opener), "hello");
    }
  }
}

TEST(Seal, NoTwoTextsShareKeyAndNonce) {
  // GCM adds the same key stream to texts with the same key and nonce: zeros show it.
  const std::string zeros(32, '\0');
  const auto ring = keys(kKeyA);
  std::set<std::string> streams;
  std::size_t sealed = 0;
  for (const int texts : {66'000, 300}) {  // the number takes three bytes
    Sealer sealer(*ring, "main", Incarnation::random());
    for (int i = 0; i < texts; ++i, ++sealed) {
      streams.insert(Sealed(sealer, "h", zeros).bytes.substr(0, zeros.size()));
    }
  }
  EXPECT_EQ(streams.size(), sealed);
}

TEST(Seal, AFailedSealUsesItsNumberUp) {
  Sealer sealer(*keys(kKeyA), "main", Incarnation::random());
  std::string out = "header";
  const std::string_view too_long(out.data(), std::size_t{1} << 31U);  // never read
  EXPECT_THROW(sealer.seal(out, 0, too_long), std::bad_alloc);
  EXPECT_EQ(out, "header");
  EXPECT_EQ(sealer.next_sequence(), 2U);
}

TEST(Seal, ManyIncarnationsCostBoundedMemory) {
  const auto ring = keys(kKeyA);
  Opener opener(ring, "main");
  Sealer first(*ring, "main", Incarnation::random());
  EXPECT_TRUE(Sealed(first, "h", "x").open(opener));
  for (std::size_t i = 0; i < 2 * Opener::kMaxPeers; ++i) {
    Sealer sealer(*ring, "main", Incarnation::random());
    ASSERT_TRUE(Sealed(sealer, "h", "x").open(opener));
    ASSERT_LE(opener.peer_count(), Opener::kMaxPeers);
  }
  EXPECT_TRUE(Sealed(first, "h", "x").open(opener)) << "derived anew";
}

TEST(Incarnation, HasAText) {
  const auto incarnation = Incarnation::random();
  EXPECT_EQ(incarnation.hex().size(), 32U);
  EXPECT_EQ(Incarnation::parse(incarnation.hex()), incarnation);
  EXPECT_NE(Incarnation::random(), incarnation);
  EXPECT_NE(incarnation.next(), incarnation);
  EXPECT_EQ(incarnation.next().hex().substr(0, 16), incarnation.hex().substr(0, 16));
  EXPECT_FALSE(Incarnation::parse("00"));
  EXPECT_FALSE(Incarnation::parse(std::string(32, 'A')));
}

}  // namespace
}  // namespace waystation::test
