# Writes OUT, a C++ source with the texts of MIGRATIONS in the order of their numbers.
list(SORT MIGRATIONS)
set(rows "")
set(expected 1)
foreach(file IN LISTS MIGRATIONS)
  get_filename_component(name ${file} NAME_WE)
  string(REGEX MATCH "^[0-9]+" number ${name})
  math(EXPR version "1${number} - 10000")
  if(NOT version EQUAL expected)
    message(FATAL_ERROR "${file}: its number should be ${expected}: one follows the other")
  endif()
  math(EXPR expected "${expected} + 1")
  file(READ ${file} text)
  string(APPEND rows "    {${version}, \"${name}\", R\"sql(${text})sql\"},\n")
endforeach()
file(WRITE ${OUT}
"// Generated from sql/.
#include \"audit/migrations.hpp\"

namespace waystation {
namespace {

constexpr Migration kMigrations[] = {
${rows}};

}  // namespace

std::span<const Migration> migrations() noexcept { return kMigrations; }

}  // namespace waystation
")
