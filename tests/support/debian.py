"""Packages for riscv64 that the tests take, each with its hash: Debian's (trixie's), and one of PyPI's."""

PACKAGES = {
    "busybox-static": (
        "b/busybox/busybox-static_1.37.0-6+b9_riscv64.deb",
        "4add476d2b185c5b487c285b38d790f0881a7e4a8e2ddde835f917e770eb8633",
    ),
    "bash-static": (
        "b/bash/bash-static_5.2.37-2+b10_riscv64.deb",
        "ff8de6539fb71827fb004de8b0907906ba9862bb66f2c8e11d599326489bf0ac",
    ),
    "lua5.4": (
        "l/lua5.4/lua5.4_5.4.7-1+b2_riscv64.deb",
        "f412d172218750ad99edee1e022a178c544f6d4d4b5ffddb37a942cc45888341",
    ),
    "liblua5.4-0": (
        "l/lua5.4/liblua5.4-0_5.4.7-1+b2_riscv64.deb",
        "b989aee78e3ccb09caab831d491e704b178299037ac8879ee223a7b9ecb1a955",
    ),
    "libreadline8t64": (
        "r/readline/libreadline8t64_8.2-6_riscv64.deb",
        "a9a66fa49aed31e4d5ce6ab2fd4999ccc28bb185b58d645539ff6955c279eb47",
    ),
    "libtinfo6": (
        "n/ncurses/libtinfo6_6.5+20250216-2_riscv64.deb",
        "9b902c0d5a1561c2e721fb90128281c9957ae6e37817acba2547aba91ff104ea",
    ),
    "libc6": (
        "g/glibc/libc6_2.41-12+deb13u5_riscv64.deb",
        "107a6b5d327f81122549b1c5bfa9cfdea2532c4fddd9e0211a915bdfdf22d7f5",
    ),
    "quickjs": (
        "q/quickjs/quickjs_2025.04.26-1_riscv64.deb",
        "1c6c90b234cff19982b30e0bd6d77fa1f9b74148adf7dc577dcc030ea37c614a",
    ),
    "python3.13-minimal": (
        "p/python3.13/python3.13-minimal_3.13.5-2+deb13u5_riscv64.deb",
        "2d21f0475e95c00468421f914ecb3d7f89cd199617e5a6dc7c693e975c225156",
    ),
    "libpython3.13-minimal": (
        "p/python3.13/libpython3.13-minimal_3.13.5-2+deb13u5_riscv64.deb",
        "5d170a02c4127b58cffe299d579803a32653e488e02eaa00548d54a7af589ca9",
    ),
    "libpython3.13-stdlib": (
        "p/python3.13/libpython3.13-stdlib_3.13.5-2+deb13u5_riscv64.deb",
        "0a8cd5a602d1464cd67fe3c5b864cd062f0e5492768ff6dc80d0f4d2b371409b",
    ),
    "libexpat1": (
        "e/expat/libexpat1_2.9.0-1~deb13u1_riscv64.deb",
        "c7cf285224886b6c1ce01f0f85a7cae4097e61eda3221be3521b3aff7058551c",
    ),
    "zlib1g": (
        "z/zlib/zlib1g_1.3.dfsg+really1.3.1-1+deb13u1_riscv64.deb",
        "9ef7002c66324b32b66d894dbe2fd045db8fab38da32be5007c4a01ed0a7b495",
    ),
    "libffi8": (
        "libf/libffi/libffi8_3.4.8-2_riscv64.deb",
        "f2dc7319a32fb0af68723f781667aa876efb402301e9cb170d2979d394c11bfb",
    ),
    "libsqlite3-0": (
        "s/sqlite3/libsqlite3-0_3.46.1-7+deb13u2_riscv64.deb",
        "a878475db5df8361879060e65bfc7bc7ac7fa0e44635ac2107cf5bd7e497e330",
    ),
    "libgcc-s1": (
        "g/gcc-14/libgcc-s1_14.2.0-19_riscv64.deb",
        "16d3f9f534028615413d23f649e5d246baef48fe7db739ad564ef8b9a6e5587c",
    ),
    "jq": (
        "j/jq/jq_1.7.1-6+deb13u4_riscv64.deb",
        "b50a4b8afc3332b239a11ccd6632645cfb6012deb71f74be974339cb43eba426",
    ),
    "libjq1": (
        "j/jq/libjq1_1.7.1-6+deb13u4_riscv64.deb",
        "d69b52cffd90592198ca8fcca99913560276b8a9c4aae5cd8be7abaaf11838c8",
    ),
    "libonig5": (
        "libo/libonig/libonig5_6.9.9-1+b1_riscv64.deb",
        "5426e51e8cf0b9dc3a8c423d5b1c20db89b556b7869c4e8b6a54054b68c2be56",
    ),
    "ripgrep": (
        "r/rust-ripgrep/ripgrep_14.1.1-1+b4_riscv64.deb",
        "9124edee937c7685b9d9473ed09656ed92e33f0caff50723af8e8f44cf86ea58",
    ),
    "libpcre2-8-0": (
        "p/pcre2/libpcre2-8-0_10.46-1~deb13u3_riscv64.deb",
        "66baf766f7c1e14cf0cd30c7d85cdd6dc7885c193f49f1909f0b3fecb9fd04d9",
    ),
    "age": (
        "a/age/age_1.2.1-1+b5_riscv64.deb",
        "c24c7c58584f95b53ccd61adab1b632d5b4f1f594a514d73569e1f6376674389",
    ),
    "sqlite3": (
        "s/sqlite3/sqlite3_3.46.1-7+deb13u2_riscv64.deb",
        "dcba7a055829c587e85e61dbd84b0fc7e6486576e1dbe164127cdb41f955822a",
    ),
    "micropython": (
        "m/micropython/micropython_1.25.0+ds-1_riscv64.deb",
        "1f92fb7435b008b95ed63fda5c9e92df63be29554da74b96e583299546f03fec",
    ),
    "libmbedcrypto16": (
        "m/mbedtls/libmbedcrypto16_3.6.6-0.1~deb13u1_riscv64.deb",
        "6c5242f85103a7c2939321d9caa40a21bb2a2f94b60ea6228f25ed57447c2190",
    ),
    "libmbedtls21": (
        "m/mbedtls/libmbedtls21_3.6.6-0.1~deb13u1_riscv64.deb",
        "43c53cb2e66a9a422ea19443d9ef27546572aafcf980366b4dfec5997a0901f2",
    ),
    "libmbedx509-7": (
        "m/mbedtls/libmbedx509-7_3.6.6-0.1~deb13u1_riscv64.deb",
        "a0f8147f9c725c87af2b61e90e47a8fc585c6f82778f155ff2252fa0a74c3003",
    ),
    "redis-tools": (
        "r/redis/redis-tools_8.0.2-3+deb13u3_riscv64.deb",
        "5a7d3766949dab17b4b5b133ede4dfaea670dcad9779ffc471170685e7fa9a13",
    ),
    "libatomic1": (
        "g/gcc-14/libatomic1_14.2.0-19_riscv64.deb",
        "ebaf12b2de00a4b567f70c629c0ff744dc92491029b3219d59c05c733f200c65",
    ),
    "libjemalloc2": (
        "j/jemalloc/libjemalloc2_5.3.0-3_riscv64.deb",
        "c7230104dd745b8c56067c2b52ef717831a73704c1f2caea83438f732d86a8b6",
    ),
    "liblzf1": (
        "libl/liblzf/liblzf1_3.6-4+b3_riscv64.deb",
        "0ff4670ca962e7b38f3d0bc86062a59cb4e6f868523894f60b7f1da53d161f99",
    ),
    "libssl3t64": (
        "o/openssl/libssl3t64_3.5.9-1~deb13u1_riscv64.deb",
        "78aaace4e2e72c8b17f99d43c5227974502de6b403f9b28aeb0831bb405ccdc8",
    ),
    "libstdc++6": (
        "g/gcc-14/libstdc++6_14.2.0-19_riscv64.deb",
        "f285313f34e0d8f65463c669fac8eb29760a3f3fd6459005dd3110cdd2b10fd7",
    ),
    "libsystemd0": (
        "s/systemd/libsystemd0_257.13-1~deb13u1_riscv64.deb",
        "2bd0bcb8e0e2d6996ede77fdb39893de9f8acaeb79d6701b2890a1a50fab644c",
    ),
    "libcap2": (
        "libc/libcap2/libcap2_2.75-10+deb13u1+b3_riscv64.deb",
        "ef9e04266f4e9302f17e9acc0ce8cd4cad50d05539b8e64a4019a03e3f776699",
    ),
    "libzstd1": (
        "libz/libzstd/libzstd1_1.5.7+dfsg-1_riscv64.deb",
        "5967f5f97bfb6e7a8036d4e615c0ecd6861a9bb686bd60ee0c81422581faf0ad",
    ),
    "libpython3.13-testsuite": (
        "p/python3.13/libpython3.13-testsuite_3.13.5-2+deb13u5_all.deb",
        "214ce20bfec92a4419d6f07ca61fb5b6a730b6a2b249d060fd2e1f4ec4b171f2",
    ),
    "esbuild": (
        "g/golang-github-evanw-esbuild/esbuild_0.25.5-1+b1_riscv64.deb",
        "ee04bc9ca8d0099da733fd0c0b3d0704ff85633524df1acaa8d80f29603f7a57",
    ),
    "redis-server": (
        "r/redis/redis-server_8.0.2-3+deb13u3_riscv64.deb",
        "b4ac454393b15ec37b4a27f1e30b2d0d031d36ca13d353d71966bd0906ac1ce5",
    ),
}
"""Where each lies in the pool, and its SHA-256."""

WHEELS = {"uv": ("0.13.9", "6b0c7b9f47a5d011939d61e324d3fe18a8bc155d8dd53add738709a92f290a7c")}
"""Of PyPI's: version, and the SHA-256 of the wheel."""
WHEEL_PLATFORM = "manylinux_2_31_riscv64"

GROUPS = {
    "busybox": ("busybox-static",),
    "bash": ("bash-static",),
    "lua": ("libc6", "lua5.4", "liblua5.4-0", "libreadline8t64", "libtinfo6"),
    "quickjs": ("libc6", "quickjs"),
    "micropython": ("libc6", "micropython", "libffi8", "libmbedcrypto16", "libmbedtls21", "libmbedx509-7"),
    "jq": ("libc6", "jq", "libjq1", "libonig5"),
    "ripgrep": ("libc6", "libgcc-s1", "ripgrep", "libpcre2-8-0"),
    "age": ("libc6", "age"),
    "esbuild": ("libc6", "esbuild"),
    "sqlite3": ("libc6", "sqlite3", "libsqlite3-0", "libreadline8t64", "libtinfo6", "zlib1g"),
    "redis": (
        *("libc6", "libgcc-s1", "redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1"),
        *("libssl3t64", "libstdc++6", "libsystemd0", "libcap2", "libzstd1", "zlib1g"),
    ),
    "python": (
        *("libc6", "libgcc-s1", "python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib"),
        *("libexpat1", "zlib1g", "libffi8", "libsqlite3-0"),
    ),
    "python-testsuite": ("libpython3.13-testsuite",),
    "uv": ("libc6", "libgcc-s1", "uv"),
}
"""What a test names, by the mark `binary`, and the packages that it takes."""

LEFT_OUT = ("usr/share", "usr/lib/riscv64-linux-gnu/gconv")
"""What no test needs."""
