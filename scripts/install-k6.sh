#!/bin/sh
# Builds k6 into build/k6 with the Go that is on the PATH: for scripts/load.mjs, where no package
# manager brings a k6 2.x. It takes minutes. k6 is a program of its own under the AGPL; it is run,
# never linked or shipped.
set -eu

version=v2.1.0

cd "$(dirname "$0")/.."
if ! command -v go >/dev/null 2>&1; then
  echo 'moonring: Go is missing: install k6 2.x with your package manager instead.' >&2
  exit 1
fi
mkdir -p build/k6
GOBIN="$(pwd)/build/k6" go install "go.k6.io/k6/v2@$version"
build/k6/k6 version
