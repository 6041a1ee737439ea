// The export table of the addon, nothing else.
#include <napi.h>

namespace kemari {

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  (void)env;
  return exports;
}

NODE_API_MODULE(kemari, initialize)

}  // namespace kemari
