// Work that takes its time, off the JavaScript thread, as a promise.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "error.h"
#include "napi_error.h"

namespace kemari {

// Deletes itself when it is done.
class PromiseJob : public Napi::AsyncWorker {
 public:
  // `work` runs on a worker thread; `result` then on the JavaScript thread. What either throws as kemari::Error rejects
  // the promise.
  static Napi::Promise run(Napi::Env env, std::function<void()> work, std::function<Napi::Value(Napi::Env)> result) {
    auto* job = new PromiseJob(env, std::move(work), std::move(result));
    job->Queue();
    return job->deferred_.Promise();
  }
  static Napi::Promise run(Napi::Env env, std::function<void()> work) {
    return run(env, std::move(work), [](Napi::Env e) { return e.Undefined(); });
  }

 protected:
  void Execute() override {
    try {
      work_();
    } catch (const Error& error) {
      error_ = error;
    }
  }
  void OnOK() override {
    try {
      if (error_) throw *error_;
      deferred_.Resolve(result_(Env()));
    } catch (const Error& error) {
      deferred_.Reject(to_napi_error(Env(), error).Value());
    }
  }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  PromiseJob(Napi::Env env, std::function<void()> work, std::function<Napi::Value(Napi::Env)> result)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        result_(std::move(result)) {}

  Napi::Promise::Deferred deferred_;
  std::function<void()> work_;
  std::function<Napi::Value(Napi::Env)> result_;
  std::optional<Error> error_;
};

}  // namespace kemari
