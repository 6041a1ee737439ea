{
  'target_defaults': {
    'include_dirs': ["<!(node -p \"require('node-addon-api').include_dir\")", 'addon'],
    'defines': ['NAPI_VERSION=9', 'NAPI_CPP_EXCEPTIONS', '_GNU_SOURCE'],
    'cflags!': ['-fno-exceptions'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': ['-std=c++20', '-Wall', '-Wextra', '-Werror', '-O2', '-fvisibility=hidden'],
  },
  'targets': [
    {
      'target_name': 'kemari',
      'sources': ["<!@(ls addon/*.cc addon/*/*.cc addon/*/*/*.cc 2>/dev/null || true)"],
      'libraries': ['-luring', '-lnbd'],
    },
    {
      'target_name': 'kemari_testing',
      'sources': ["<!@(ls test/native/*.cc)"],
    },
    {
      'target_name': 'pingpong',
      'type': 'executable',
      'sources': ['test/bench/pingpong.cc'],
      'ldflags': ['-static'],
    },
  ],
}
