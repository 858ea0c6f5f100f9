// Incoming frames: unmasked, reassembled, checked for UTF-8.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "micro/texts.hpp"
#include "websocket/frame_reader.hpp"

namespace waystation::bench {
namespace {

class Sink final : public FrameHandler {
 public:
  bool on_message(Opcode, std::string_view payload) override {
    benchmark::DoNotOptimize(payload.data());
    return true;
  }
  bool on_ping(std::string_view) override { return true; }
  bool on_pong(std::string_view) override { return true; }
  void on_close(CloseCode, std::string_view) override {}
};

/// A message of range(0) bytes, received in range(1) pieces. The result includes the copy that
/// restores the masked bytes for each round.
void unmask_and_assemble(benchmark::State& state) {
  const auto frame = client_frame(words(static_cast<std::size_t>(state.range(0))));
  const auto pieces = static_cast<std::size_t>(state.range(1));
  std::vector<char> bytes(frame.size());
  FrameLimits limits;
  FrameReader reader(limits);
  Sink sink;
  for (auto _ : state) {
    std::memcpy(bytes.data(), frame.data(), frame.size());
    const auto step = (bytes.size() + pieces - 1) / pieces;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      auto piece = std::span(bytes).subspan(at, std::min(step, bytes.size() - at));
      if (reader.feed(piece, sink, 1)) state.SkipWithError("not a frame");
    }
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(frame.size()));
}

BENCHMARK(unmask_and_assemble)->Args({64, 1})->Args({2048, 1})->Args({2048, 3})->Args({32768, 3});

}  // namespace
}  // namespace waystation::bench
