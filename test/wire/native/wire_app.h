/* The handler of the wire cases, in C. test/wire/app.lua is the same in Lua; test/wire/README.md
 * says how it responds. */
#pragma once

#include "httpserver.h"

void wire_app(hs_request_t *request, hs_response_t *response, void *user_data);
