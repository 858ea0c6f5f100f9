#include "base/utf8_vector.hpp"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>

// The method is that of Keiser and Lemire, "Validating UTF-8 In Less Than One Instruction Per
// Byte". Three tables classify each pair of neighbouring bytes. A bit that all three have is an
// error.

namespace waystation {
namespace {

#define WAYSTATION_AVX2 __attribute__((target("avx2")))

/// A set of half bytes: bit n stands for n.
using HalfBytes = std::uint32_t;

constexpr HalfBytes range(unsigned first, unsigned last) {
  HalfBytes set = 0;
  for (unsigned n = first; n <= last; ++n) set |= HalfBytes{1} << n;
  return set;
}

constexpr HalfBytes kAny = range(0x0, 0xF);
constexpr HalfBytes kAscii = range(0x0, 0x7);
constexpr HalfBytes kContinuation = range(0x8, 0xB);
constexpr HalfBytes kLead = range(0xC, 0xF);

/// A pair of bytes that is wrong, by halves of both: the lower half of the second does not matter.
struct WrongPair {
  HalfBytes first_high, first_low, second_high;
};

// The last one is right after a lead byte of three or four bytes, and required there.
constexpr std::array<WrongPair, 8> kWrongPairs{{
    {kLead, kAny, kAscii | kLead},                        // too short
    {kAscii, kAny, kContinuation},                        // no lead byte
    {range(0xC, 0xC), range(0x0, 0x1), kContinuation},    // overlong: C0 and C1
    {range(0xE, 0xE), range(0x0, 0x0), range(0x8, 0x9)},  // overlong: E0 80 to E0 9F
    {range(0xE, 0xE), range(0xD, 0xD), range(0xA, 0xB)},  // surrogates: ED A0 to ED BF
    {range(0xF, 0xF), range(0x4, 0xF), range(0x9, 0xB)},  // above F4 8F
    {range(0xF, 0xF), range(0x5, 0xF) | 1,
     range(0x8, 0x8)},                     // above F4 8F; overlong: F0 80 to F0 8F
    {kContinuation, kAny, kContinuation},  // two continuation bytes
}};

/// For each half byte, the pairs in whose set it is. Twice, since AVX2 looks up in halves.
using Table = std::array<std::uint8_t, 32>;

constexpr Table table_of(HalfBytes WrongPair::*set) {
  Table table{};
  for (unsigned n = 0; n < table.size(); ++n) {
    for (unsigned pair = 0; pair < kWrongPairs.size(); ++pair) {
      const bool has = (kWrongPairs[pair].*set >> (n % 16) & 1U) != 0;
      if (has) table[n] = static_cast<std::uint8_t>(table[n] | 1U << pair);
    }
  }
  return table;
}

alignas(32) constexpr Table kFirstHigh = table_of(&WrongPair::first_high);
alignas(32) constexpr Table kFirstLow = table_of(&WrongPair::first_low);
alignas(32) constexpr Table kSecondHigh = table_of(&WrongPair::second_high);

WAYSTATION_AVX2 inline __m256i look_up(const Table& table, __m256i half_bytes) {
  return _mm256_shuffle_epi8(_mm256_load_si256(reinterpret_cast<const __m256i*>(table.data())),
                             half_bytes);
}

WAYSTATION_AVX2 inline __m256i low_half(__m256i bytes) {
  return _mm256_and_si256(bytes, _mm256_set1_epi8(0x0F));
}

WAYSTATION_AVX2 inline __m256i high_half(__m256i bytes) {
  return low_half(_mm256_srli_epi16(bytes, 4));
}

/// Not 0 where a byte of `bytes` is wrong after those before it, the last of which end `before`.
WAYSTATION_AVX2 inline __m256i errors(__m256i bytes, __m256i before) {
  const auto middle = _mm256_permute2x128_si256(before, bytes, 0x21);
  const auto one_before = _mm256_alignr_epi8(bytes, middle, 15);
  const auto two_before = _mm256_alignr_epi8(bytes, middle, 14);
  const auto three_before = _mm256_alignr_epi8(bytes, middle, 13);
  const auto wrong = _mm256_and_si256(_mm256_and_si256(look_up(kFirstHigh, high_half(one_before)),
                                                       look_up(kFirstLow, low_half(one_before))),
                                      look_up(kSecondHigh, high_half(bytes)));
  // The third byte after E0 and above, the fourth after F0 and above: the top bit says which.
  const auto third = _mm256_subs_epu8(two_before, _mm256_set1_epi8(0xE0 - 0x80));
  const auto fourth = _mm256_subs_epu8(three_before, _mm256_set1_epi8(0xF0 - 0x80));
  const auto required =
      _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(static_cast<char>(0x80)));
  return _mm256_xor_si256(required, wrong);
}

WAYSTATION_AVX2 inline __m256i load(const char* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

/// Whether the two halves of a block are valid after `before`.
WAYSTATION_AVX2 inline bool is_valid_block(__m256i first, __m256i second, __m256i before) {
  // After ASCII, a block of ASCII cannot be wrong.
  const auto all = _mm256_or_si256(_mm256_or_si256(first, second), before);
  if (_mm256_movemask_epi8(all) == 0) return true;
  const auto wrong = _mm256_or_si256(errors(first, before), errors(second, first));
  return _mm256_testz_si256(wrong, wrong) != 0;
}

WAYSTATION_AVX2 std::size_t valid_blocks_avx2(const char* text, std::size_t size) noexcept {
  std::size_t at = 0;
  auto before = _mm256_setzero_si256();
  for (; size - at >= kUtf8BlockBytes; at += kUtf8BlockBytes) {
    const auto first = load(text + at);
    const auto second = load(text + at + 32);
    if (!is_valid_block(first, second, before)) break;
    before = second;
  }
  return at;
}

WAYSTATION_AVX2 std::size_t unmask_blocks_avx2(char* text, std::size_t size,
                                               std::uint64_t mask) noexcept {
  const auto masks = _mm256_set1_epi64x(static_cast<long long>(mask));
  std::size_t at = 0;
  auto before = _mm256_setzero_si256();
  for (; size - at >= kUtf8BlockBytes; at += kUtf8BlockBytes) {
    const auto first = _mm256_xor_si256(load(text + at), masks);
    const auto second = _mm256_xor_si256(load(text + at + 32), masks);
    if (!is_valid_block(first, second, before)) break;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(text + at), first);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(text + at + 32), second);
    before = second;
  }
  return at;
}

/// The length of a valid prefix without the character at its end that is not complete.
std::size_t without_incomplete(const char* text, std::size_t size) noexcept {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, size); ++back) {
    const auto byte = static_cast<unsigned char>(text[size - back]);
    if (byte < 0x80) break;
    if (byte < 0xC0) continue;
    const std::size_t length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    return length > back ? size - back : size;
  }
  return size;
}

// Before it is set, while static objects are constructed, nothing but speed is lost.
const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;

}  // namespace

std::size_t valid_blocks(std::string_view text) noexcept {
  if (!has_avx2) return 0;
  return without_incomplete(text.data(), valid_blocks_avx2(text.data(), text.size()));
}

UnmaskedBlocks unmask_blocks(std::span<char> text, std::uint64_t mask) noexcept {
  if (!has_avx2) return {};
  const auto unmasked = unmask_blocks_avx2(text.data(), text.size(), mask);
  return {unmasked, without_incomplete(text.data(), unmasked)};
}

}  // namespace waystation

#else

namespace waystation {

std::size_t valid_blocks(std::string_view) noexcept {
  return 0;
}

UnmaskedBlocks unmask_blocks(std::span<char>, std::uint64_t) noexcept {
  return {};
}

}  // namespace waystation

#endif
