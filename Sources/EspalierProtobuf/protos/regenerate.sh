#!/usr/bin/env bash
# Makes ../Generated/*.pb.swift anew from the .proto files here. Needed only where one of these changes: what it makes is committed.
#
# Takes protoc (Debian's protobuf-compiler) and protoc-gen-swift of the swift-protobuf release that the package resolves to; a first build
# of the latter takes some minutes:
#
#   swift build --package-path .build/checkouts/swift-protobuf --product protoc-gen-swift
#   PATH="$PWD/.build/checkouts/swift-protobuf/.build/debug:$PATH" Sources/EspalierProtobuf/protos/regenerate.sh
set -euo pipefail
cd "$(dirname "$0")"
protoc --swift_opt=Visibility=Package --swift_out=../Generated ./*.proto
