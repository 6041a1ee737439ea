{
  'variables': {
    # A Node with OpenSSL built in exports it and brings its headers; Debian's uses the shared library of the system.
    'shared_openssl': '<!(node -p process.config.variables.node_shared_openssl)',
  },
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
      'libraries': ['-luring', '-lnbd', '-llz4'],
      'conditions': [
        ['shared_openssl=="true"', {'libraries': ['-lssl', '-lcrypto']}],
      ],
    },
    {
      'target_name': 'kemari_testing',
      # With the little of the addon that a test needs on its side of a native interface.
      'sources': [
        "<!@(ls test/native/*.cc)",
        'addon/error.cc',
        'addon/napi_error.cc',
        'addon/napi_options.cc',
        'addon/link/checkpoint.cc',
        'addon/link/psk_session.cc',
        'addon/ring/request_queue.cc',
        'addon/ring/xen/attached_queue.cc',
        'addon/ring/net/transport_header.cc',
        'addon/ring/xen/blkif_queue.cc',
        'addon/ring/xen/grant_copier.cc',
        'addon/ring/xen/netif_queue.cc',
        'addon/ring/xen/netif_receive_queue.cc',
        'addon/ring/xen/netif_transmit_queue.cc',
        'addon/ring/xen/shared_ring.cc',
        'addon/xen/call_buffer.cc',
        'addon/xen/domain.cc',
        'addon/xen/foreign_pages.cc',
        'addon/xen/libraries.cc',
      ],
      'conditions': [['shared_openssl=="true"', {'libraries': ['-lssl', '-lcrypto']}]],
    },
    {
      'target_name': 'pingpong',
      'type': 'executable',
      'sources': ['test/bench/pingpong.cc'],
      'ldflags': ['-static'],
    },
  ],
}
