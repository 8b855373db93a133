/*
 * Reading what JavaScript gives. Throws Napi::TypeError that names the property. Main thread only.
 */
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "httpserver.h"

/* What to serve: a Lua file, or a function of a shared object. */
struct AppSource {
    bool is_module = false;
    hs_lua_compat_t compat = HS_LUA_COMPAT_NONE;
    std::string path;
    std::string symbol;
};

/* What hs_config_t.shared refers to, from an array of objects with `fd` or `size`. Not copyable. */
struct SharedMemories {
    std::vector<hs_shared_memory_t> memories;

    explicit SharedMemories(const Napi::Value &value);
    SharedMemories(const SharedMemories &) = delete;
    SharedMemories &operator=(const SharedMemories &) = delete;

private:
    std::vector<std::string> names_;
};

/* A configuration with the storage that its pointers refer to. Not copyable: the pointers are into
 * itself. */
struct ReactorConfig {
    hs_config_t config;
    AppSource app;
    std::string lua_root;
    std::string access_log_path;
    std::string trusted_proxies;
    std::string compress;
    std::string compress_types;
    std::vector<int> listen_fds;
    std::vector<int> topics_fds;
    SharedMemories shared;

    explicit ReactorConfig(const Napi::Object &options);
    ReactorConfig(const ReactorConfig &) = delete;
    ReactorConfig &operator=(const ReactorConfig &) = delete;

private:
    void read_supervision(const Napi::Object &options);
    void read_app(const Napi::Value &value);
};

AppSource app_source(const Napi::Value &value);

std::string string_property(const Napi::Object &object, const char *name);
uint32_t uint32_property(const Napi::Object &object, const char *name);
int int_property(const Napi::Object &object, const char *name);
std::vector<int> descriptors_property(const Napi::Object &object, const char *name);
