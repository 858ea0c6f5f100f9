// Puts together what the engines know about the nodes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cluster/scripts.hpp"
#include "relay/backplane.hpp"

namespace waystation {

/// Gives the answer when it is destroyed: then no engine holds it any more.
class NodeListing {
 public:
  /// `own` is the name of this node.
  NodeListing(std::string own, Answer<NodeList> answer);
  ~NodeListing();
  NodeListing(const NodeListing&) = delete;
  NodeListing& operator=(const NodeListing&) = delete;

  /// The table of one engine; null: it did not answer. A node is ready if it is ready on every
  /// engine that answers.
  void add(const std::vector<TableEntry>* table) noexcept;

 private:
  struct Found {
    NodeInfo info;
    std::size_t engines_ready = 0;
  };

  NodeList result() const;

  const std::string own_;
  const Answer<NodeList> answer_;
  std::map<std::string, Found> nodes_;
  std::size_t engines_ = 0;  // that have answered
  bool is_partial_ = false;
};

}  // namespace waystation
