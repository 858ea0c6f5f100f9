// The public options struct, checked and read into what the modules take.
#pragma once

#include <vector>

#include "admission/admission.hpp"
#include "base/error.hpp"
#include "reactor/relay_service.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// A text that may be NULL.
std::string text_or_empty(const char* text);

/// The caller's struct with every field that its `size` does not reach at its default.
waystation_options with_defaults(const waystation_options& options) noexcept;

/// Every mistake that the values themselves show: numbers and choices out of their range, options
/// that contradict each other, the node's name. Nothing outside of the struct is looked at.
std::vector<Error> value_errors(const waystation_options& options);

/// Every mistake that waystation_new finds, in the key file and the audit's file as well.
std::vector<Error> all_errors(const waystation_options& options);

/// Options that are allowed, but probably not what was meant.
std::vector<Error> config_warnings(const waystation_options& options);

/// The options, if value_errors() finds nothing. Throws OptionError with the first.
const waystation_options& checked(const waystation_options& options);

// For options that are checked.
AdmissionOptions admission_options(const waystation_options& options);
RelayOptions relay_options(const waystation_options& options);

/// The request, as the modules see it. `fields` gets its header fields and must outlive the result.
Request to_request(const waystation_request& request, std::vector<HeaderField>& fields);

}  // namespace waystation
