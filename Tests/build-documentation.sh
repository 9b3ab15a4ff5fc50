#!/usr/bin/env bash
# Builds the documentation of what `import Espalier` brings along, into .build/Espalier.doccarchive or the folder given.
#
# Fails on a warning of DocC's, such as a link that leads nowhere, and on a public symbol without a doc comment. Takes doc comments from
# the compiled modules, so that no package of its own is needed, and neither a plugin in the manifest that importers would have to resolve.
set -euo pipefail
cd "$(dirname "$0")/.."

swift=${SWIFT:-swift}
archive=${1:-.build/Espalier.doccarchive}
build=($swift build -c release)
for module in EspalierBench EspalierMPI; do "${build[@]}" --target "$module"; done
products=$("${build[@]}" --show-bin-path)
toolchain=$(dirname "$(readlink -f "$(command -v "$swift")")")
export PATH=$PATH:$toolchain

# The C modules that the Swift modules import.
options=(-I "$products/Modules" -target "$(uname -m)-unknown-linux-gnu" -minimum-access-level public -skip-synthesized-members)
for map in "$products"/Esp*.build/module.modulemap CKernels/*/module.modulemap; do options+=(-Xcc "-fmodule-map-file=$map"); done
for headers in CKernels/*/include; do options+=(-Xcc "-I$headers"); done

symbols=$(mktemp -d)
trap 'rm -rf "$symbols"' EXIT
mkdir "$symbols/shown" "$symbols/all"
extract() { swift-symbolgraph-extract "${options[@]}" -output-dir "$symbols/$1" -module-name "${@:2}"; }

# One page a symbol, whichever of the modules that Espalier exports it is from.
exported=$(sed -n 's/^@_exported import //p' Sources/Espalier/Exports.swift | paste -sd,)
extract all Espalier -emit-extension-block-symbols -experimental-allowed-reexported-modules="$exported"
for module in EspalierBaselines EspalierBench EspalierMPI; do extract all "$module"; done
mv "$symbols"/all/Espalier{,@Swift}.symbols.json "$symbols/shown"

undocumented=$(jq -r '.symbols[] | select(.docComment == null and .kind.identifier != "swift.extension" and .location != null)
  | "\(.location.uri | ltrimstr("file://")):\(.location.position.line + 1): \(.pathComponents | join(".")) has no doc comment"' \
  "$symbols"/shown/*.json "$symbols"/all/Espalier*.json | sort -u)
if [ -n "$undocumented" ]; then
  echo "$undocumented" >&2
  exit 1
fi

rm -rf "$archive"
docc convert Sources/Espalier/Espalier.docc --additional-symbol-graph-dir "$symbols/shown" --output-path "$archive" \
  --fallback-bundle-identifier espalier --fallback-default-module-kind Library --warnings-as-errors
echo "$archive: $(find "$archive/data" -name '*.json' | wc -l) pages; python3 -m http.server -d $archive, then /documentation/espalier"
