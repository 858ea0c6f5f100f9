// RAII owners of memory from cJSON, for modules that link cJSON.
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

/// Throws std::bad_alloc for a null pointer: cJSON returns null if it has no memory.
template <typename T>
T* require(T* made) {
  if (made == nullptr) throw std::bad_alloc();
  return made;
}

/// The JSON text of a value, without white space. Throws std::bad_alloc.
inline std::string print(const CJson& value) {
  return CJsonText(require(cJSON_PrintUnformatted(value.get()))).get();
}

}  // namespace waystation
