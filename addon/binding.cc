// The export table of the addon, nothing else.
#include <napi.h>

#include "capture/napi_capture.h"
#include "evidence/napi_evidence.h"
#include "fault/napi_fault.h"
#include "link/napi_link.h"
#include "napi_descriptor.h"
#include "napi_gate.h"
#include "napi_host.h"
#include "napi_unix_socket.h"
#include "ring/console/napi_console.h"
#include "ring/disk/napi_disk.h"
#include "ring/disk/napi_disk_sample.h"
#include "ring/net/napi_nic.h"
#include "stage/napi_delay_line.h"
#include "xen/napi_domain.h"

namespace kemari {

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  define_gate(env, exports);
  define_disk(env, exports);
  define_disk_sample(env, exports);
  define_nic(env, exports);
  define_console(env, exports);
  define_capture(env, exports);
  define_link_sender(env, exports);
  define_link_receiver(env, exports);
  define_host(env, exports);
  define_unix_socket(env, exports);
  define_descriptor(env, exports);
  define_fault(env, exports);
  define_evidence(env, exports);
  define_delay_line(env, exports);
  define_xen_domain(env, exports);
  return exports;
}

NODE_API_MODULE(kemari, initialize)

}  // namespace kemari
