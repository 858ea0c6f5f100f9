#include "cluster/node_listing.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace waystation {
namespace {

// Enough to tell the runs of a node apart.
constexpr std::size_t kShownDigits = 8;

}  // namespace

NodeListing::NodeListing(std::string own, Answer<NodeList> answer)
    : own_(std::move(own)), answer_(std::move(answer)) {}

NodeListing::~NodeListing() {
  try {
    answer_(result());
  } catch (const std::bad_alloc&) {
    // The caller has a deadline of its own.
  }
}

void NodeListing::add(const std::vector<TableEntry>* table) noexcept {
  if (table == nullptr) {
    is_partial_ = true;
    return;
  }
  try {
    ++engines_;
    for (const auto& entry : *table) {
      auto& found = nodes_[entry.name];
      found.info.name = entry.name;
      if (found.info.incarnation.empty()) {
        found.info.incarnation = entry.incarnation.substr(0, kShownDigits);
      }
      found.info.is_own = entry.name == own_;
      found.info.silent_ms = std::max(found.info.silent_ms, entry.silent_ms);
      if (entry.is_ready) ++found.engines_ready;
    }
  } catch (const std::bad_alloc&) {
    is_partial_ = true;
  }
}

NodeList NodeListing::result() const {
  NodeList list;
  list.is_partial = is_partial_;
  for (const auto& [name, found] : nodes_) {
    list.nodes.push_back(found.info);
    list.nodes.back().is_ready = found.engines_ready == engines_;
  }
  if (engines_ == 0) list.nodes.push_back({own_, {}, false, true, 0});
  return list;
}

}  // namespace waystation
