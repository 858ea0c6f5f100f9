// Addresses, blocks and X-Forwarded-For.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "admission/client_address.hpp"
#include "fuzz/one_input.hpp"

using namespace waystation;

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

int fuzz_one_input(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  if (const auto address = Address::parse(text)) {
    must(Address::parse(address->to_string()) == address);  // its own canonical form
    const auto block = AddressBlock::parse(address->to_string());
    must(block && block->contains(*address));
  }

  const auto block = AddressBlock::parse(text);
  if (!block) {
    const auto& problem = block.error();
    must(!problem.empty());
    // If the error names a block, that block is valid.
    constexpr std::string_view kMeant = "the block is ";
    if (const auto at = problem.find(kMeant); at != std::string::npos) {
      must(AddressBlock::parse(std::string_view(problem).substr(at + kMeant.size())).has_value());
    }
  } else if (const auto base = Address::parse(text.substr(0, text.find('/')))) {
    must(block->contains(*base));
  }

  // Behind a proxy the client is never the proxy while another address is to its right.
  static const std::vector<std::string> kProxies{"10.0.0.0/8", "fd00::/8"};
  static const AddressList kTrusted = *AddressList::parse(kProxies);
  const std::string forwarded = std::string(text) + ", 203.0.113.9, 10.1.1.1";
  std::array fields{HeaderField{"X-Forwarded-For", forwarded}};
  Request request;
  request.headers = fields;
  request.remote_address = "10.0.0.1";
  must(client_address(request, kTrusted).address == Address::parse("203.0.113.9"));
  fields[0].value = text;
  const ClientAddress client = client_address(request, kTrusted);
  must(client.address.has_value() == client.why_unidentified.empty());
  request.remote_address = "203.0.113.9";
  must(!client_address(request, kTrusted).address);
  return 0;
}
