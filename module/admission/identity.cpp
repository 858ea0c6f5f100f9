#include "admission/identity.hpp"

namespace waystation {

std::string_view scope_name(Scope scope) noexcept {
  return scope == Scope::push ? "push" : "admin";
}

Scopes Scopes::parse(std::string_view text) noexcept {
  constexpr std::string_view kSpace = " \t\r\n";
  Scopes scopes;
  while (true) {
    const std::size_t begin = text.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return scopes;
    text.remove_prefix(begin);
    const std::string_view name = text.substr(0, text.find_first_of(kSpace));
    text.remove_prefix(name.size());
    for (const Scope scope : {Scope::push, Scope::admin}) {
      if (name == scope_name(scope)) scopes.add(scope);
    }
  }
}

}  // namespace waystation
