#!/usr/bin/env bash
# A package that depends on a version of this one builds and runs the program of the article "Getting started".
#
#   Tests/import-by-version.sh [debug|release]
#
# Takes the last commit of this repository, under a tag in a clone. Needs Fashion-MNIST.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=("${SWIFT:-swift}" build -c "${1:-debug}")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

git clone --quiet "$root" "$place/espalier"
git -C "$place/espalier" tag --force 0.1.0 >/dev/null
mkdir -p "$place/user/Sources/user"
cat >"$place/user/Package.swift" <<END
// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "user",
  dependencies: [.package(url: "file://$place/espalier", from: "0.1.0")],
  targets: [.executableTarget(name: "user", dependencies: [.product(name: "Espalier", package: "espalier")])]
)
END
awk '/^```swift$/ { inside = 1; next } /^```$/ { if (inside) print ""; inside = 0 } inside' \
  "$root/Sources/Espalier/Espalier.docc/GettingStarted.md" >"$place/user/Sources/user/main.swift"

cd "$place/user"
"${build[@]}"
output=$(TMPDIR=$place "$("${build[@]}" --show-bin-path)/user")
echo "$output"
read -r threads _ <<<"$output"
if [ "$(nproc)" -gt 1 ] && [ "$threads" -lt 2 ]; then
  echo "expected more than one thread" >&2
  exit 1
fi
[ "$(tail -n 1 <<<"$output")" = true ]
