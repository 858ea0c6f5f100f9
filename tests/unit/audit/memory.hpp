// A process that runs out of memory, by an operator new of the tests' own.
#pragma once

namespace waystation::test {

/// While it lives, operator new has nothing to give to any thread but the one that made it.
class NoMemoryForOthers {
 public:
  NoMemoryForOthers() noexcept;
  ~NoMemoryForOthers();
  NoMemoryForOthers(const NoMemoryForOthers&) = delete;
  NoMemoryForOthers& operator=(const NoMemoryForOthers&) = delete;
};

}  // namespace waystation::test
