// Checks of the public options struct, and its conversion into the modules' options.
#pragma once

#include <vector>

#include "admission/admission.hpp"
#include "base/error.hpp"
#include "reactor/relay_service.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// The text, or an empty text for NULL.
std::string text_or_empty(const char* text);

/// A full copy of the caller's struct. Fields beyond its `size` have their defaults.
waystation_options with_defaults(const waystation_options& options) noexcept;

/// All errors in the values: numbers and choices out of range, options that contradict each other,
/// the node name. Reads no files.
std::vector<Error> value_errors(const waystation_options& options);

/// All errors that waystation_new reports, including those in the key file and the audit's file.
std::vector<Error> all_errors(const waystation_options& options);

/// Warnings about options that are allowed, but probably a mistake.
std::vector<Error> config_warnings(const waystation_options& options);

/// Returns the options. Throws OptionError with the first of value_errors().
const waystation_options& checked(const waystation_options& options);

// These functions need checked options.
AdmissionOptions admission_options(const waystation_options& options);
RelayOptions relay_options(const waystation_options& options);

/// Converts a request. The result points into `fields`, which must outlive it.
Request to_request(const waystation_request& request, std::vector<HeaderField>& fields);

}  // namespace waystation
