// What a LinkSender and a LinkReceiver of JavaScript have in common: events, words, and a life until close().
#pragma once

#include <napi.h>

#include <memory>
#include <utility>
#include <vector>

#include "link/napi_link.h"
#include "napi_error.h"
#include "napi_options.h"
#include "napi_promise.h"

namespace kemari {

inline constexpr int64_t kMaxSafeInteger = (1ll << 53) - 1;

// `Link` is the sender or the receiver behind it; `kIsPrimary` says whose words it may say.
template <typename Self, typename Link, bool kIsPrimary>
class LinkObject : public Napi::ObjectWrap<Self> {
 public:
  explicit LinkObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {}

  Napi::Value send(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
      const WordMessage message = word_arguments(info, kIsPrimary);
      link_->say(message.word, message.text);
      return info.Env().Undefined();
    });
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (std::exchange(referenced_, false)) this->Unref();
    return PromiseJob::run(
        info.Env(), [link = link_] { link->close(); },
        [events = events_](Napi::Env env) {
          events->close();
          return env.Undefined();
        });
  }

 protected:
  using Wrap = Napi::ObjectWrap<Self>;

  // The class `name`, with the methods of both sides and `own` ones.
  static Napi::Function define_class(Napi::Env env, const char* name,
                                     std::vector<Napi::ClassPropertyDescriptor<Self>> own) {
    own.push_back(Wrap::InstanceMethod("send", &Self::send));
    own.push_back(Wrap::InstanceMethod("close", &Self::close));
    return Wrap::DefineClass(env, name, own);
  }

  // Makes the link, whose events go to option onEvent; it does not run yet.
  void make(Napi::Env env, const Napi::Object& options, typename Link::Options made) {
    events_ = std::make_shared<LinkEventChannel>(env, function_option(options, "onEvent"));
    made.on_event = LinkEventChannel::sink(events_);
    try {
      link_ = std::make_shared<Link>(std::move(made));
    } catch (...) {
      events_->close();
      throw;
    }
  }

  // The object lives until close() even if JavaScript forgets it.
  void start() {
    link_->start();
    this->Ref();
  }

  const std::shared_ptr<Link>& link() const noexcept { return link_; }

 private:
  std::shared_ptr<LinkEventChannel> events_;
  std::shared_ptr<Link> link_;
  bool referenced_ = true;
};

}  // namespace kemari
