// Simulates a process without memory, with a replaced operator new.
#pragma once

namespace waystation::test {

/// While it exists, operator new fails on all threads except the one that created it.
class NoMemoryForOthers {
 public:
  NoMemoryForOthers() noexcept;
  ~NoMemoryForOthers();
  NoMemoryForOthers(const NoMemoryForOthers&) = delete;
  NoMemoryForOthers& operator=(const NoMemoryForOthers&) = delete;
};

/// While it exists, operator new fails on the thread that created it.
class NoMemoryHere {
 public:
  NoMemoryHere() noexcept;
  ~NoMemoryHere();
  NoMemoryHere(const NoMemoryHere&) = delete;
  NoMemoryHere& operator=(const NoMemoryHere&) = delete;
};

}  // namespace waystation::test
