// TLS 1.3 by a pre-shared key, with the OpenSSL of the Node that loads the addon.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

namespace kemari {

inline constexpr size_t kLinkKeyBytes = 32;
using LinkKey = std::array<uint8_t, kLinkKeyBytes>;

struct FreeSsl {
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};
using UniqueSsl = std::unique_ptr<SSL, FreeSsl>;

// Who proves what to whom: both sides that they have `key`, and that they mean the same `identity` (it names the kind
// of connection and the protection's token, so that no connection can be used as another).
struct PskSecret {
  LinkKey key;
  std::string identity;
};

// A session that knows no certificate, no ticket, no earlier TLS and no cipher but AES-128-GCM. It belongs to one
// connection. Throws KEMARI_LINK_TLS.
UniqueSsl make_psk_session(PskSecret secret, bool is_client);

// The text of OpenSSL's oldest error of this thread, whose queue is emptied. `wrong_key`: whether it says that the peer
// has another key or means another connection.
struct TlsFailure {
  std::string text;
  bool wrong_key;
};
TlsFailure take_tls_failure();

}  // namespace kemari
