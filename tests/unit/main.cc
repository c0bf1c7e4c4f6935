// SPDX-License-Identifier: Apache-2.0
// The main function of the unit tests (Catch2).
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
