// Group names: an accepted name has two users in order and is their only name. A refusal has a
// reason, and the canonical name if one exists.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "fuzz/one_input.hpp"
#include "relay/names.hpp"

using namespace waystation;

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

int fuzz_one_input(const std::uint8_t* data, std::size_t size) {
  const std::string name(reinterpret_cast<const char*>(data), size);
  const auto users = parse_group(name);
  const auto split = name.find('_');
  if (users) {
    must(name == std::string(users->lo) + "_" + std::string(users->hi));
    must(is_user_id(users->lo) && is_user_id(users->hi));
    must(compare_users(users->lo, users->hi) < 0 && compare_users(users->hi, users->lo) > 0);
  } else if (split != std::string::npos) {
    // With the users swapped it is a group exactly if only the order was wrong.
    const auto reversed = name.substr(split + 1) + "_" + name.substr(0, split);
    if (parse_group(reversed)) {
      must(group_error(name).find(reversed) != std::string::npos);
    } else {
      must(!is_user_id(name.substr(0, split)) || !is_user_id(name.substr(split + 1)) ||
           name.substr(0, split) == name.substr(split + 1));
    }
  }
  if (users) must(!parse_group(std::string(users->hi) + "_" + std::string(users->lo)));
  return 0;
}
