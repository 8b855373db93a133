/*
 * From the public configuration to checked limits. Pure.
 */
#pragma once

#include "base/hs_err.h"
#include "base/hs_limits.h"
#include "httpserver.h"

/* HS_OK, or HS_ERR_INVALID with a message that names the field. */
HS_NODISCARD int hs_config_check(const hs_config_t *config, hs_errinfo_t *error);

/* The limits of a configuration accepted by hs_config_check. */
hs_limits_t hs_config_limits(const hs_config_t *config);
