# Two commands matter: `make train` trains on real data, `make test` builds and passes the tests.
# Both install the Debian packages that are missing, with sudo where the caller is not root.

PACKAGES = git pkg-config libc6-dev zlib1g-dev libssl-dev libopenblas-dev libomp-dev libjpeg62-turbo-dev libpng-dev dataset-fashion-mnist
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
SWIFT ?= swift

# What `make train` runs, a recipe (Sources/EspalierCLI/Configuration/Preset.swift); add flags with FLAGS, e.g. make train FLAGS="--seed 1".
TRAIN = --preset fashion-mnist-vgg16-98

.PHONY: train build install test sanitize test-neon test-mpi test-import fuzz docs packages format format-check clean

train: build
	.build/release/espalier train $(TRAIN) $(FLAGS)

build: packages
	$(SWIFT) build -c release --product espalier

# Puts the program, stripped, under PREFIX, with completions for bash, zsh and fish. Swift's libraries are in it; those of the
# system that it needs stay shared: libomp5, libopenblas0, zlib1g, libssl3, libjpeg62-turbo, libpng16-16.
PREFIX ?= /usr/local
BIN = $(DESTDIR)$(PREFIX)/bin
SHARE = $(DESTDIR)$(PREFIX)/share

install: packages
	$(SWIFT) build -c release --product espalier --static-swift-stdlib --scratch-path .build-install
	install -d $(BIN) $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	install -s -m 755 .build-install/release/espalier $(BIN)/espalier
	$(BIN)/espalier --generate-completion-script bash > $(SHARE)/bash-completion/completions/espalier
	$(BIN)/espalier --generate-completion-script zsh > $(SHARE)/zsh/site-functions/_espalier
	$(BIN)/espalier --generate-completion-script fish > $(SHARE)/fish/vendor_completions.d/espalier.fish

# The whole test suite, optimised; then the kernels alone under AddressSanitizer and UndefinedBehaviorSanitizer,
# and their NEON variants under qemu.
test: packages
	$(SWIFT) build -c release --build-tests
	$(SWIFT) test -c release --skip-build
	$(MAKE) sanitize
	$(MAKE) test-neon

# ESPALIER_KERNELS_ONLY leaves the kernels and their tests in the manifest. Asserts are on. Kernels allocate nothing but
# for Images, whose libraries (libjpeg-turbo, libpng) do; what the runtimes keep would be called leaks.
sanitize: packages
	ESPALIER_KERNELS_ONLY=1 ASAN_OPTIONS=detect_leaks=0 $(SWIFT) test --scratch-path .build-sanitize --sanitize address \
		-Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined -Xcc -O1 -Xswiftc -O

# The kernels' NEON variants, cross-compiled and run under qemu. KERNEL_SOURCES are those that have variants of their own.
CROSS = aarch64-linux-gnu
KERNEL_FOLDERS = Runtime SparseMatmul SparseConv Sampling Layers
KERNEL_SOURCES = $(shell git ls-files $(KERNEL_FOLDERS:%='CKernels/%/*.c'))

test-neon: PACKAGES += gcc-$(CROSS) libc6-dev-arm64-cross qemu-user
test-neon: packages
	mkdir -p .build-neon
	$(CROSS)-gcc -O2 -std=c11 -fopenmp -Wall -Wextra -Wno-unknown-pragmas $(foreach f,$(KERNEL_FOLDERS),-ICKernels/$f/include -ICKernels/$f) \
		$(KERNEL_SOURCES) Tests/Cross/*.c -lm -o .build-neon/kernels
	qemu-aarch64 -L /usr/$(CROSS) .build-neon/kernels

# Several processes train together: the program with the trait MPI, run by mpirun on this machine.
test-mpi: PACKAGES += openmpi-bin libopenmpi-dev python3 procps
test-mpi: packages
	$(SWIFT) build -c release --traits MPI --scratch-path .build-mpi --product espalier
	Tests/mpi.sh .build-mpi/release/espalier

# Another package imports the last commit by a version and runs the program of the article "Getting started".
test-import: packages
	SWIFT=$(SWIFT) Tests/import-by-version.sh

# The library's documentation; a warning, or a public symbol without a doc comment, is an error.
docs: PACKAGES += jq
docs: packages
	SWIFT=$(SWIFT) Tests/build-documentation.sh

# Everything that reads a file from elsewhere under libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, FUZZ_SECONDS a format.
FUZZ_SECONDS ?= 600
FUZZ_FORMATS = idx cifar npy safetensors config picture

fuzz: packages
	ESPALIER_FUZZ=1 $(SWIFT) build --scratch-path .build-fuzz --product fuzz --sanitize address --sanitize fuzzer \
		-Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined -Xcc -O1 -Xswiftc -O
	for format in $(FUZZ_FORMATS); do Tests/Fuzz/run.sh .build-fuzz/debug/fuzz $$format $(FUZZ_SECONDS) || exit 1; done

packages:
	@missing=; for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y $$missing; \
	fi

C_FILES = $(shell git ls-files 'CKernels/*.c' 'CKernels/*.h' 'Tests/*.c' 'Tests/*.h')
SWIFT_FILES = Package.swift Plugins Sources Tests $(shell git ls-files 'Benchmarks/*.swift')

# Rewrites the sources as the formatters' settings (.clang-format, .swift-format) say.
format: PACKAGES += clang-format
format: packages
	clang-format -i $(C_FILES)
	$(SWIFT) format --in-place --recursive $(SWIFT_FILES)

format-check: PACKAGES += clang-format
format-check: packages
	clang-format --dry-run --Werror $(C_FILES)
	$(SWIFT) format lint --strict --recursive $(SWIFT_FILES)

clean:
	rm -rf .build .build-install .build-sanitize .build-neon .build-mpi .build-fuzz Benchmarks/.build
