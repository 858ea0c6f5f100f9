// The public options struct, read into what the rooms take.
#pragma once

#include "admission/admission.hpp"
#include "reactor/relay_service.hpp"
#include "waystation/waystation.h"

namespace waystation {

/// A text that may be NULL.
std::string text_or_empty(const char* text);

/// The caller's struct with every field that its `size` does not reach at its default.
waystation_options with_defaults(const waystation_options& options);

// Each throws std::invalid_argument: one line naming the key, the value and what is allowed.
AdmissionOptions admission_options(const waystation_options& options);
RelayOptions relay_options(const waystation_options& options);

/// The request, as the rooms see it. `fields` gets its header fields and must outlive the result.
Request to_request(const waystation_request& request, std::vector<HeaderField>& fields);

}  // namespace waystation
