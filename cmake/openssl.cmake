# OpenSSL 3, always shared and never in the addon: node exports the functions of its own OpenSSL, whose
# ABI is the same, and keeps it up to date. Everything else links the system's libssl.
find_package(PkgConfig REQUIRED)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET libssl>=3.0 libcrypto>=3.0)
