/* The addon's functions for sockets; main thread only. */
#pragma once

#include <napi.h>

/* Adds them to what the addon exports. */
void define_sockets(Napi::Env env, Napi::Object exports);
