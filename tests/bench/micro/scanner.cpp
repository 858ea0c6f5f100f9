// The scanner compared with parsers, which also build a document.

#include <benchmark/benchmark.h>
#include <cjson/cJSON.h>
#include <simdjson.h>

#include "base/utf8.hpp"
#include "micro/texts.hpp"
#include "relay/envelope.hpp"
#include "relay/json_scanner.hpp"

namespace waystation::bench {
namespace {

using Maker = std::string (*)(std::size_t);

void count_bytes(benchmark::State& state, std::size_t size) {
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(size));
}

void scan(benchmark::State& state, Maker make) {
  const auto text = make(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(is_json(text));
  count_bytes(state, text.size());
}

/// The relay's steps for a text: UTF-8 check, then the envelope.
void check_and_read(benchmark::State& state, Maker make) {
  const auto text = make(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(is_utf8(text));
    benchmark::DoNotOptimize(read_envelope(text, Protocol::plain, SocketKind::chat));
  }
  count_bytes(state, text.size());
}

void utf8(benchmark::State& state, Maker make) {
  const auto text = make(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(is_utf8(text));
  count_bytes(state, text.size());
}

void simdjson_parse(benchmark::State& state, Maker make) {
  const simdjson::padded_string text(make(static_cast<std::size_t>(state.range(0))));
  simdjson::dom::parser parser;
  for (auto _ : state) benchmark::DoNotOptimize(parser.parse(text).error());
  count_bytes(state, text.size());
}

void simdjson_utf8(benchmark::State& state, Maker make) {
  const auto text = make(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(simdjson::validate_utf8(text));
  count_bytes(state, text.size());
}

void cjson_parse(benchmark::State& state, Maker make) {
  const auto text = make(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    auto* json = cJSON_ParseWithLength(text.data(), text.size());
    benchmark::DoNotOptimize(json);
    cJSON_Delete(json);
  }
  count_bytes(state, text.size());
}

#define WITH_TEXTS(function)                                     \
  BENCHMARK_CAPTURE(function, words, words)->Arg(64)->Arg(2048); \
  BENCHMARK_CAPTURE(function, chinese, chinese)->Arg(2048);      \
  BENCHMARK_CAPTURE(function, records, records)->Arg(2048)

WITH_TEXTS(scan);
WITH_TEXTS(check_and_read);
WITH_TEXTS(simdjson_parse);
WITH_TEXTS(cjson_parse);
WITH_TEXTS(utf8);
WITH_TEXTS(simdjson_utf8);

}  // namespace
}  // namespace waystation::bench
