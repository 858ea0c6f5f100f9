#include "reactor/task_queue.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <thread>
#include <vector>

namespace waystation::test {
namespace {

bool is_readable(const TaskQueue& queue) {
  pollfd ready{queue.descriptor(), POLLIN, 0};
  return poll(&ready, 1, 0) == 1;
}

TEST(TaskQueue, RunsTasksInTheOrderPosted) {
  TaskQueue queue;
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(queue.post([&ran, i] { ran.push_back(i); }));
  EXPECT_TRUE(ran.empty());
  queue.run();
  EXPECT_EQ(ran, (std::vector{0, 1, 2, 3, 4}));
  queue.run();
  EXPECT_EQ(ran.size(), 5U);
}

TEST(TaskQueue, IsReadableWhileThereAreTasks) {
  TaskQueue queue;
  EXPECT_FALSE(is_readable(queue));
  queue.post([] {});
  queue.post([] {});
  EXPECT_TRUE(is_readable(queue));
  queue.on_readable();
  EXPECT_FALSE(is_readable(queue));
}

TEST(TaskQueue, DoesNotTouchItsDescriptorUntilThatIsReadable) {
  TaskQueue queue;
  int ran = 0;
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(queue.descriptor(), &one, sizeof one), ssize_t{sizeof one});
  for (int round = 0; round < 100; ++round) queue.run();
  EXPECT_TRUE(is_readable(queue)) << "a system call in each round";
  queue.post([&] { ++ran; });
  queue.run();
  EXPECT_EQ(ran, 1);
  EXPECT_TRUE(is_readable(queue));
  queue.on_readable();
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(is_readable(queue));
}

TEST(TaskQueue, ATaskAnnouncedTogetherWithAnEarlierOneIsRun) {
  TaskQueue queue;
  int ran = 0;
  queue.post([&] { ++ran; });
  queue.run();
  // Announced by the descriptor, which is readable for the first one, too.
  queue.post([&] { ++ran; });
  queue.on_readable();
  EXPECT_EQ(ran, 2);
  EXPECT_FALSE(is_readable(queue));
}

TEST(TaskQueue, ATaskPostedByATaskIsRunNextTime) {
  TaskQueue queue;
  int ran = 0;
  queue.post([&] { queue.post([&] { ++ran; }); });
  queue.on_readable();
  EXPECT_EQ(ran, 0);
  EXPECT_TRUE(is_readable(queue));
  queue.run();
  EXPECT_EQ(ran, 1);
}

TEST(TaskQueue, TheLastTaskRunsAfterAllOthersAndTheQueueIsClosed) {
  TaskQueue queue;
  std::vector<int> ran;
  queue.post([&] { ran.push_back(1); });
  queue.close([&] { ran.push_back(2); });
  queue.close([&] { ran.push_back(3); });
  EXPECT_FALSE(queue.post([&] { ran.push_back(4); }));
  EXPECT_TRUE(is_readable(queue));
  queue.run();
  queue.run();
  EXPECT_EQ(ran, (std::vector{1, 2}));
}

TEST(TaskQueue, ARunIsBoundedAndTheNextOneGoesOn) {
  TaskQueue queue;
  queue.set_tasks_per_run(2);
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) queue.post([&ran, i] { ran.push_back(i); });
  queue.run();
  EXPECT_EQ(ran, (std::vector{0, 1}));
  EXPECT_TRUE(queue.has_more());
  queue.post([&] { ran.push_back(5); });
  queue.on_readable();
  EXPECT_FALSE(is_readable(queue));
  EXPECT_EQ(ran, (std::vector{0, 1, 2, 3}));
  EXPECT_TRUE(queue.has_more());
  queue.run();
  EXPECT_EQ(ran, (std::vector{0, 1, 2, 3, 4, 5}));
  EXPECT_FALSE(queue.has_more());
}

TEST(TaskQueue, TheLastTaskOfABoundedQueueRunsAtOnceAfterAllOthers) {
  TaskQueue queue;
  queue.set_tasks_per_run(2);
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) queue.post([&ran, i] { ran.push_back(i); });
  queue.run();
  queue.post_without_memory([&] { ran.push_back(5); });
  queue.run();
  EXPECT_EQ(ran, (std::vector{0, 1, 2, 3, 4, 5}));
  for (int i = 6; i < 10; ++i) queue.post([&ran, i] { ran.push_back(i); });
  queue.close([&] { ran.push_back(10); });
  queue.run();
  EXPECT_EQ(ran.size(), 11U);
  EXPECT_EQ(ran.back(), 10);
  EXPECT_FALSE(queue.has_more());
}

TEST(TaskQueue, EachTaskThatIsTakenRunsThoughTheQueueIsClosedMeanwhile) {
  constexpr int kThreads = 4;
  TaskQueue queue;
  queue.set_tasks_per_run(3);
  std::atomic<int> posted = 0;
  int ran = 0;
  int ran_before_last = -1;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      while (queue.post([&ran] { ++ran; })) ++posted;
    });
  }
  std::thread closing([&] {
    while (posted < 10'000) std::this_thread::yield();
    EXPECT_TRUE(queue.post_without_memory([] {}));
    queue.close([&] { ran_before_last = ran; });
  });
  while (ran_before_last < 0) {
    pollfd ready{queue.descriptor(), POLLIN, 0};
    if (!queue.has_more()) {
      EXPECT_EQ(poll(&ready, 1, 20'000), 1) << "a task was not announced";
    }
    queue.on_readable();
  }
  closing.join();
  for (auto& thread : threads) thread.join();
  queue.run();
  EXPECT_EQ(ran, posted);
  EXPECT_EQ(ran_before_last, posted);
}

TEST(TaskQueue, ATaskWithoutMemoryRunsOnceAfterAllOthersUntilTheQueueIsClosed) {
  TaskQueue queue;
  std::vector<int> ran;
  EXPECT_TRUE(queue.post_without_memory([&] { ran.push_back(1); }));
  EXPECT_TRUE(queue.post_without_memory([&] { ran.push_back(2); }));
  EXPECT_TRUE(is_readable(queue));
  queue.post([&] { ran.push_back(3); });
  queue.run();
  queue.run();
  EXPECT_EQ(ran, (std::vector{3, 2}));
  queue.close([&] { ran.push_back(4); });
  EXPECT_FALSE(queue.post_without_memory([&] { ran.push_back(5); }));
  queue.run();
  EXPECT_EQ(ran, (std::vector{3, 2, 4}));
}

TEST(TaskQueue, ATaskThatThrowsEndsAlone) {
  TaskQueue queue;
  int ran = 0;
  queue.post([] { throw std::bad_alloc(); });
  queue.post([&] { ++ran; });
  queue.post([] { throw 1; });
  queue.close([&] { ++ran; });
  queue.run();
  EXPECT_EQ(ran, 2);
}

TEST(TaskQueue, ReleasesATaskAfterItRan) {
  TaskQueue queue;
  const auto held = std::make_shared<int>();
  queue.post([held] {});
  EXPECT_EQ(held.use_count(), 2);
  queue.run();
  EXPECT_EQ(held.use_count(), 1);
}

TEST(TaskQueue, RunsAllTasksOfManyThreads) {
  TaskQueue queue;
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  int ran = 0;
  std::vector<int> last(kThreads, -1);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        queue.post([&, t, i] {
          ++ran;
          EXPECT_EQ(last[static_cast<std::size_t>(t)], i - 1);
          last[static_cast<std::size_t>(t)] = i;
        });
      }
    });
  }
  // Only ever woken by the descriptor, as the reactor is.
  while (ran < kThreads * kEach) {
    pollfd ready{queue.descriptor(), POLLIN, 0};
    ASSERT_EQ(poll(&ready, 1, 20'000), 1) << "a task was posted without a word";
    queue.on_readable();
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace waystation::test
