# For C programmers: the presets of CMakePresets.json under the usual names. It needs a C and a C++
# compiler, CMake, Ninja, pkg-config, llhttp 9.2 and LuaJIT 2.1; the tests need cmocka.

PREFIX ?= /usr/local
DESTDIR ?=
# Arguments for cmake --preset, for example CMAKE_ARGS=-DLLHTTP_SOURCE_DIR=/usr/src/llhttp
CMAKE_ARGS ?=
JOBS ?= 2
# A regular expression of test names: make test TESTS='^ring$$'
TESTS ?= .

configure = cmake --preset $(1) $(CMAKE_ARGS)
build = cmake --build build/$(1)
run = ctest --test-dir build/$(1) --output-on-failure --parallel $(JOBS) -R '$(TESTS)'

.PHONY: all debug asan tsan test test-asan test-tsan install clean

# libhttpserver.a and libhttpserver.so, optimised.
all:
	$(call configure,release)
	$(call build,release) --target moonring_core httpserver

debug asan tsan:
	$(call configure,$@)
	$(call build,$@)

test: debug
	$(call run,debug)

test-asan: asan
	$(call run,asan)

test-tsan: tsan
	$(call run,tsan)

# The libraries, httpserver.h and httpserver.pc.
install: all
	DESTDIR=$(DESTDIR) cmake --install build/release --prefix $(PREFIX)

clean:
	cmake -E rm -rf build/release build/debug build/asan build/tsan
