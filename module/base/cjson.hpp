// Owners of what cJSON allocates. For modules that link cJSON.
#pragma once

#include <cjson/cJSON.h>

#include <memory>
#include <new>
#include <string>

namespace waystation {

struct CJsonDelete {
  void operator()(cJSON* item) const noexcept { cJSON_Delete(item); }
};
struct CJsonFree {
  void operator()(char* text) const noexcept { cJSON_free(text); }
};
using CJson = std::unique_ptr<cJSON, CJsonDelete>;
using CJsonText = std::unique_ptr<char, CJsonFree>;

/// cJSON returns null where it has no memory.
template <typename T>
T* require(T* made) {
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

/// The text of a value, without blanks. Throws std::bad_alloc.
inline std::string print(const CJson& value) {
  return CJsonText(require(cJSON_PrintUnformatted(value.get()))).get();
}

}  // namespace waystation
