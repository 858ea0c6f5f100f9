// Routing of texts; filling and emptying of outboxes.

#include <benchmark/benchmark.h>

#include <deque>
#include <memory>
#include <string>

#include "micro/texts.hpp"
#include "relay/local_backplane.hpp"
#include "relay/outbox.hpp"
#include "relay/router.hpp"

namespace waystation::bench {
namespace {

class NullObserver final : public Observer {
 public:
  void on_delivery(const Delivery&) noexcept override {}
  void on_error_sent(ErrorCode) noexcept override {}
};

class NullScheduler final : public Scheduler {
 public:
  const Now& now() const noexcept override { return now_; }
  void run_at(std::int64_t) noexcept override {}

 private:
  Now now_;
};

class NullMember final : public ChatMember {
 public:
  NullMember() : ChatMember(Protocol::plain) {}
  void on_joined() noexcept override {}
  bool send(const OutgoingText& text, const Message*) override {
    benchmark::DoNotOptimize(text.value.data());
    return true;
  }
  void refresh(std::string, const ShortText&) override {}
  void end_session() override {}
  void go_away() override {}
  void throttle(std::int64_t) override {}
};

/// One text of each of range(0) pairs in turn, from the envelope to Member::send().
void route(benchmark::State& state) {
  NullObserver observer;
  Directory directory({1'000'000, 1'000'000});
  Fanout fanout(directory, observer);
  NullScheduler scheduler;
  Reachability reachability(directory, fanout, scheduler);
  LocalBackplane backplane(directory, fanout, reachability);
  Router router(directory, fanout, backplane);
  struct Pair {
    NullMember a, b;
  };
  std::deque<Pair> pairs(static_cast<std::size_t>(state.range(0)));
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto number = std::to_string(i);
    router.join(pairs[i].a, "a" + number + "_bob", "a" + number);
    router.join(pairs[i].b, "a" + number + "_bob", "bob");
  }
  const auto text = words(64);
  std::size_t next = 0;
  for (auto _ : state) {
    router.receive(pairs[next].a, text, {1'700'000'000'000, 1});
    if (++next == pairs.size()) next = 0;
  }
  state.SetItemsProcessed(state.iterations());
  for (auto& pair : pairs) {
    router.leave(pair.a);
    router.leave(pair.b);
  }
}

/// Queues range(0) units of range(1) bytes, then sends them at once.
void outbox(benchmark::State& state) {
  OutboxPool pool(OutboxPool::Limits{});
  Outbox box(pool);
  const std::string value(static_cast<std::size_t>(state.range(1)), 'x');
  for (auto _ : state) {
    for (std::int64_t i = 0; i < state.range(0); ++i) {
      benchmark::DoNotOptimize(box.append({"\x81\x40", "{\"message\":", value, "}"}));
    }
    benchmark::DoNotOptimize(box.unsent().data());
    box.consume(box.unsent().size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * state.range(0) * state.range(1));
}

BENCHMARK(route)->Arg(1)->Arg(1000);
BENCHMARK(outbox)->Args({1, 64})->Args({16, 64})->Args({4, 2048})->Args({4, 32768});

}  // namespace
}  // namespace waystation::bench
