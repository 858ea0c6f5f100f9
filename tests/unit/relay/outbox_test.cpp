#include "relay/outbox.hpp"

#include <gtest/gtest.h>
#include <malloc.h>

#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace waystation::test {
namespace {

constexpr OutboxPool::Limits kRoomy{1 << 20, 1 << 24};

/// Consumes everything, `step` bytes at a time.
std::string drain(Outbox& outbox, std::size_t step = 1 << 30) {
  std::string text;
  while (!outbox.unsent().empty()) {
    const auto piece = outbox.unsent().substr(0, step);
    text += piece;
    outbox.consume(piece.size());
  }
  return text;
}

TEST(Outbox, IsEmptyAtFirst) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  EXPECT_EQ(outbox.unsent(), "");
  EXPECT_EQ(outbox.queued_offset(), 0U);
  EXPECT_EQ(outbox.sent_offset(), 0U);
  EXPECT_EQ(pool.queued_bytes(), 0U);
  outbox.drop_unstarted();
  outbox.consume(0);
  EXPECT_EQ(outbox.unsent(), "");
}

TEST(Outbox, ReturnsUnitsInOrder) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  EXPECT_TRUE(outbox.append({"one ", "unit", " in parts"}));
  EXPECT_TRUE(outbox.append({", another"}));
  EXPECT_EQ(outbox.unsent(), "one unit in parts, another");
  outbox.consume(5);
  EXPECT_EQ(outbox.unsent(), "nit in parts, another");
  EXPECT_TRUE(outbox.append({"!"}));
  EXPECT_EQ(drain(outbox, 3), "nit in parts, another!");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Outbox, ReleasesMemoryThatItsLastUnitsDoNotNeed) {
  OutboxPool pool({1 << 20, 1 << 30});
  const auto in_use = [] {
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const auto before = in_use();
  std::deque<Outbox> outboxes;
  for (int i = 0; i < 50; ++i) {
    auto& outbox = outboxes.emplace_back(pool);
    const std::string unit(1000, '.');
    while (outbox.append({unit})) {
    }
    outbox.consume(outbox.unsent().size() - 10);
    EXPECT_EQ(outbox.unsent().size(), 10U);
  }
  EXPECT_LT(in_use() - before, 50U * 20'000U);
}
#endif

TEST(Outbox, JoinedUnitsAreDroppedTogether) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  constexpr auto mergeable = Outbox::Unit::mergeable;
  EXPECT_TRUE(outbox.append({"message"}));
  EXPECT_TRUE(outbox.append({"a"}, mergeable));
  EXPECT_TRUE(outbox.append({"b"}, mergeable));
  EXPECT_TRUE(outbox.append({"another"}));
  EXPECT_TRUE(outbox.append({"c"}, mergeable));
  outbox.consume(8);
  // "a" and "b" are one unit, which is started. "d" is not merged with "another".
  EXPECT_TRUE(outbox.append({"d"}, mergeable));
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.unsent(), "b");
  EXPECT_TRUE(outbox.append({"e"}, mergeable)) << "a started unit does not grow";
  outbox.drop_unstarted();
  EXPECT_EQ(drain(outbox), "b");
}

TEST(Outbox, JoinedUnitsHaveAMaximumSize) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  for (int i = 0; i < 5000; ++i) EXPECT_TRUE(outbox.append({"xy"}, Outbox::Unit::mergeable));
  outbox.consume(1);
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.unsent().size(), 1023U);
  EXPECT_EQ(pool.queued_bytes(), 1023U);
}

TEST(Outbox, IgnoresEmptyPartsAndUnits) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  EXPECT_TRUE(outbox.append({std::string_view(), "", std::string_view()}));
  EXPECT_EQ(outbox.unsent(), "");
  EXPECT_TRUE(outbox.append({"a", std::string_view(), "b"}));
  EXPECT_TRUE(outbox.append({}));
  EXPECT_EQ(outbox.unsent(), "ab");
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.unsent(), "");
}

TEST(Outbox, AcceptsUpToItsLimit) {
  OutboxPool pool({100, 1000});
  Outbox outbox(pool);
  EXPECT_TRUE(outbox.append({std::string(60, 'a')}));
  EXPECT_FALSE(outbox.append({std::string(41, 'b')}));
  EXPECT_EQ(outbox.unsent(), std::string(60, 'a'));
  EXPECT_TRUE(outbox.append({std::string(30, 'c'), std::string(10, 'd')}));
  EXPECT_FALSE(outbox.append({"e"}));
  outbox.consume(1);
  EXPECT_TRUE(outbox.append({"f"}));
  EXPECT_FALSE(outbox.append({"g"}));
  EXPECT_EQ(drain(outbox),
            std::string(59, 'a') + std::string(30, 'c') + std::string(10, 'd') + "f");
}

TEST(Outbox, AllOutboxesTogetherAcceptUpToTheTotalLimit) {
  OutboxPool pool({100, 150});
  Outbox a(pool);
  Outbox b(pool);
  EXPECT_TRUE(a.append({std::string(100, 'a')}));
  EXPECT_FALSE(b.append({std::string(51, 'b')}));
  EXPECT_EQ(b.unsent(), "");
  EXPECT_TRUE(b.append({std::string(50, 'b')}));
  EXPECT_EQ(pool.queued_bytes(), 150U);
  EXPECT_FALSE(b.append({"b"}));
  a.consume(1);
  EXPECT_TRUE(b.append({"b"}));
  EXPECT_EQ(pool.queued_bytes(), 150U);
}

TEST(Outbox, LimitsCanChange) {
  OutboxPool pool({10, 100});
  Outbox outbox(pool);
  EXPECT_FALSE(outbox.append({std::string(11, 'a')}));
  pool.set_limits({11, 100});
  EXPECT_EQ(pool.limits().max_queue_bytes, 11U);
  EXPECT_TRUE(outbox.append({std::string(11, 'a')}));
  pool.set_limits({100, 11});
  EXPECT_FALSE(outbox.append({"b"}));
}

TEST(Outbox, AppendAlwaysIgnoresTheLimits) {
  OutboxPool pool({4, 4});
  Outbox outbox(pool);
  EXPECT_TRUE(outbox.append({"full"}));
  outbox.append_always({"close"});
  EXPECT_EQ(outbox.unsent(), "fullclose");
  EXPECT_EQ(pool.queued_bytes(), 9U);
  EXPECT_FALSE(outbox.append({"x"}));
}

TEST(Outbox, ADestroyedOutboxReleasesItsBytes) {
  OutboxPool pool({100, 100});
  auto first = std::make_unique<Outbox>(pool);
  EXPECT_TRUE(first->append({std::string(100, 'a')}));
  first->consume(40);
  EXPECT_EQ(pool.queued_bytes(), 60U);
  first.reset();
  EXPECT_EQ(pool.queued_bytes(), 0U);
  Outbox second(pool);
  EXPECT_TRUE(second.append({std::string(100, 'b')}));
}

TEST(Outbox, CountsAllBytesQueuedAndSent) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  outbox.append({"12345"});
  EXPECT_EQ(outbox.queued_offset(), 5U);
  outbox.consume(2);
  EXPECT_EQ(outbox.sent_offset(), 2U);
  EXPECT_EQ(outbox.queued_offset(), 5U);
  outbox.consume(3);
  outbox.append({"678"});
  EXPECT_EQ(outbox.sent_offset(), 5U);
  EXPECT_EQ(outbox.queued_offset(), 8U);
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.queued_offset(), 5U);
}

TEST(Outbox, DropKeepsAPartlySentUnit) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  outbox.append({"first"});
  outbox.append({"second"});
  outbox.append({"third"});
  outbox.consume(7);
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.unsent(), "cond");
  EXPECT_EQ(pool.queued_bytes(), 4U);
  EXPECT_EQ(outbox.queued_offset(), 11U);
  outbox.append_always({"close"});
  EXPECT_EQ(drain(outbox), "condclose");
}

TEST(Outbox, DropAtTheEndOfAUnitLeavesNothing) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  outbox.append({"first"});
  outbox.append({"second"});
  outbox.consume(5);
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.unsent(), "");
  EXPECT_EQ(pool.queued_bytes(), 0U);
  EXPECT_EQ(outbox.queued_offset(), 5U);
  outbox.append({"third"});
  outbox.consume(1);
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.unsent(), "hird");
}

TEST(Outbox, ASecondDropHasNoEffect) {
  OutboxPool pool(kRoomy);
  Outbox outbox(pool);
  outbox.append({"first"});
  outbox.append({"second"});
  outbox.consume(1);
  outbox.drop_unstarted();
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.unsent(), "irst");
}

TEST(Outbox, AUnitCanBeLargerThanABlock) {
  OutboxPool pool({1 << 23, 1 << 24});
  Outbox outbox(pool);
  std::string large(3'000'000, ' ');
  std::iota(large.begin(), large.end(), '\0');
  EXPECT_TRUE(outbox.append({"head", large, "tail"}));
  outbox.consume(100);
  EXPECT_TRUE(outbox.append({large}));
  EXPECT_TRUE(drain(outbox, 70'001) == ("head" + large + "tail" + large).substr(100));
  EXPECT_EQ(pool.queued_bytes(), 0U);
}

TEST(Outbox, AReusedBlockIsEmpty) {
  OutboxPool pool(kRoomy);
  {
    Outbox outbox(pool);
    outbox.append({"left over"});
    outbox.append({"more"});
    outbox.consume(4);
  }
  Outbox outbox(pool);
  outbox.append({"a"});
  outbox.append({"b"});
  EXPECT_EQ(outbox.unsent(), "ab");
  outbox.consume(1);
  outbox.drop_unstarted();
  EXPECT_EQ(outbox.unsent(), "");
}

TEST(Outbox, DiscardedBytesAreAvailableToOthersAtOnce) {
  OutboxPool pool({100, 100});
  Outbox closed(pool);
  Outbox other(pool);
  EXPECT_TRUE(closed.append({std::string(100, 'a')}));
  closed.consume(10);
  EXPECT_FALSE(pool.has_capacity(11));
  closed.discard();
  EXPECT_EQ(closed.unsent(), "");
  EXPECT_EQ(closed.sent_offset(), 10U);
  EXPECT_EQ(closed.queued_offset(), 10U);
  EXPECT_TRUE(pool.has_capacity(100));
  EXPECT_FALSE(pool.has_capacity(101));
  EXPECT_TRUE(other.append({std::string(100, 'b')}));
  closed.discard();
  EXPECT_EQ(pool.queued_bytes(), 100U);
}

/// A simple model of an outbox: its units as strings.
struct Model {
  std::deque<std::string> units;
  std::size_t started = 0;  // bytes of the first unit that were sent
  std::uint64_t sent = 0;

  std::size_t size() const {
    std::size_t bytes = 0;
    for (const auto& unit : units) bytes += unit.size();
    return bytes - started;
  }

  std::string unsent() const {
    std::string text;
    for (const auto& unit : units) text += unit;
    return text.substr(started);
  }

  void consume(std::size_t count) {
    sent += count;
    started += count;
    while (!units.empty() && started >= units.front().size()) {
      started -= units.front().size();
      units.pop_front();
    }
  }

  void drop_unstarted() { units.resize(started == 0 ? 0 : 1); }
};

TEST(Outbox, BehavesLikeAString) {
  constexpr unsigned kSeed = 4408;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937 random(kSeed);
  const auto below = [&random](std::size_t n) { return random() % n; };

  constexpr OutboxPool::Limits limits{60'000, 100'000};
  OutboxPool pool(limits);
  std::vector<std::unique_ptr<Outbox>> outboxes;
  std::vector<Model> models(3);
  for (std::size_t i = 0; i < models.size(); ++i) {
    outboxes.push_back(std::make_unique<Outbox>(pool));
  }
  const auto total = [&models] {
    return std::accumulate(models.begin(), models.end(), std::size_t{0},
                           [](std::size_t sum, const Model& model) { return sum + model.size(); });
  };

  std::size_t refused = 0;
  char next = 0;
  for (int step = 0; step < 40'000; ++step) {
    const auto which = below(models.size());
    auto& outbox = outboxes[which];
    auto& model = models[which];
    const auto action = below(100);
    if (action < 55) {
      // Mostly small units; some are larger than a block.
      const std::size_t most = below(20) == 0 ? 40'000 : 300;
      std::string parts[3];
      for (auto& part : parts) {
        part.resize(below(3) == 0 ? 0 : below(most));
        for (auto& c : part) c = next++;
      }
      const auto unit = parts[0] + parts[1] + parts[2];
      if (action < 53) {
        const bool fits = model.size() + unit.size() <= limits.max_queue_bytes &&
                          total() + unit.size() <= limits.max_total_queue_bytes;
        ASSERT_EQ(outbox->append({parts[0], parts[1], parts[2]}), fits) << "step " << step;
        refused += fits ? 0 : 1;
        if (fits && !unit.empty()) model.units.push_back(unit);
      } else {
        outbox->append_always({parts[0], parts[1], parts[2]});
        if (!unit.empty()) model.units.push_back(unit);
      }
    } else if (action < 96) {
      const auto count = std::min(model.size(), below(below(4) == 0 ? 50'000 : 400));
      outbox->consume(count);
      model.consume(count);
    } else if (action < 99) {
      outbox->drop_unstarted();
      model.drop_unstarted();
    } else {
      outbox = std::make_unique<Outbox>(pool);
      model = {};
    }
    ASSERT_TRUE(outbox->unsent() == model.unsent()) << "step " << step;
    ASSERT_EQ(outbox->sent_offset(), model.sent) << "step " << step;
    ASSERT_EQ(outbox->queued_offset(), model.sent + model.size()) << "step " << step;
    ASSERT_EQ(pool.queued_bytes(), total()) << "step " << step;
  }
  EXPECT_GT(refused, 100U);
}

}  // namespace
}  // namespace waystation::test
