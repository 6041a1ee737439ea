#include "link/psk_session.h"

#include <openssl/err.h>

#include <cstring>
#include <utility>

#include "error.h"

namespace kemari {

namespace {

constexpr std::array<uint8_t, 2> kCipherId{0x13, 0x01};  // TLS_AES_128_GCM_SHA256 (RFC 8446, appendix B.4)
// One read takes several TLS records of 16 KiB out of the socket.
constexpr size_t kReadBufferBytes = 128 << 10;

struct FreeContext {
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};

[[noreturn]] void tls_failed(const char* what) {
  fail("KEMARI_LINK_TLS", std::string(what) + " failed: " + take_tls_failure().text);
}

void free_secret(void*, void* secret, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<PskSecret*>(secret);
}

// Where an SSL keeps its PskSecret.
int secret_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, free_secret);
  return index;
}

const PskSecret& secret_of(SSL* ssl) {
  return *static_cast<const PskSecret*>(SSL_get_ex_data(ssl, secret_index()));
}

// The external key as OpenSSL wants it: a session that was never negotiated. The caller owns it.
SSL_SESSION* session_of(SSL* ssl) {
  const LinkKey& key = secret_of(ssl).key;
  SSL_SESSION* session = SSL_SESSION_new();
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kCipherId.data());
  if (session != nullptr && cipher != nullptr && SSL_SESSION_set1_master_key(session, key.data(), key.size()) == 1 &&
      SSL_SESSION_set_cipher(session, cipher) == 1 && SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1) {
    return session;
  }
  SSL_SESSION_free(session);
  return nullptr;
}

int offer_key(SSL* ssl, const EVP_MD*, const unsigned char** identity, size_t* identity_bytes, SSL_SESSION** session) {
  *session = session_of(ssl);
  if (*session == nullptr) return 0;
  const std::string& name = secret_of(ssl).identity;
  *identity = reinterpret_cast<const unsigned char*>(name.data());  // SAFETY: octets either way; lives as long as ssl
  *identity_bytes = name.size();
  return 1;
}

int find_key(SSL* ssl, const unsigned char* identity, size_t identity_bytes, SSL_SESSION** session) {
  const std::string& name = secret_of(ssl).identity;
  const bool is_ours = identity_bytes == name.size() && std::memcmp(identity, name.data(), name.size()) == 0;
  *session = is_ours ? session_of(ssl) : nullptr;
  return !is_ours || *session != nullptr ? 1 : 0;
}

using UniqueContext = std::unique_ptr<SSL_CTX, FreeContext>;

UniqueContext make_context() {
  UniqueContext context(SSL_CTX_new(TLS_method()));
  if (context == nullptr) tls_failed("SSL_CTX_new");
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_default_read_buffer_len(context.get(), kReadBufferBytes);
  SSL_CTX_set_psk_use_session_callback(context.get(), offer_key);
  SSL_CTX_set_psk_find_session_callback(context.get(), find_key);
  if (SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256") != 1 ||
      SSL_CTX_set_num_tickets(context.get(), 0) != 1) {
    tls_failed("SSL_CTX_set");
  }
  return context;
}

// One for all sessions: it knows no secret.
SSL_CTX* context() {
  static const UniqueContext made = make_context();
  return made.get();
}

}  // namespace

UniqueSsl make_psk_session(PskSecret secret, bool is_client) {
  ERR_clear_error();
  UniqueSsl ssl(SSL_new(context()));
  if (ssl == nullptr) tls_failed("SSL_new");
  auto owned = std::make_unique<PskSecret>(std::move(secret));
  if (SSL_set_ex_data(ssl.get(), secret_index(), owned.get()) != 1) tls_failed("SSL_set_ex_data");
  static_cast<void>(owned.release());  // free_secret() has it
  if (is_client) {
    SSL_set_connect_state(ssl.get());
  } else {
    SSL_set_accept_state(ssl.get());
  }
  return ssl;
}

TlsFailure take_tls_failure() {
  const unsigned long error = ERR_get_error();
  ERR_clear_error();
  if (error == 0) return {"no reason given", false};
  const char* reason = ERR_reason_error_string(error);
  bool wrong_key = false;
  if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
    switch (ERR_GET_REASON(error)) {
      case SSL_R_BINDER_DOES_NOT_VERIFY:  // the server sees another key
      case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
      case SSL_R_NO_SHARED_CIPHER:  // the server does not know the identity and has no certificate to go on with
      case SSL_R_NO_SUITABLE_KEY_SHARE:
      case SSL_AD_REASON_OFFSET + SSL_AD_ILLEGAL_PARAMETER:  // the client hears of the first
      case SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE:  // and of the second
      case SSL_AD_REASON_OFFSET + SSL_AD_DECRYPT_ERROR:
      case SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_PSK_IDENTITY:
        wrong_key = true;
        break;
      default:
        break;
    }
  }
  return {reason != nullptr ? reason : "OpenSSL error " + std::to_string(error), wrong_key};
}

}  // namespace kemari
