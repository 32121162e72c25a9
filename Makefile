# What people type. `make run` starts the server, `make test` runs every check and test.

CARGO ?= cargo
PYTHON ?= python3
TOOLS := target/tools
# Seconds that each fuzz target runs in `make test`.
FUZZ_SECONDS ?= 5

.PHONY: run build check test tools fuzz bench clean

# Release binaries, then the server on ./data. Options: make run ARGS="--http 127.0.0.1:9000"
run: build
	exec target/release/skeind $(ARGS)

build:
	$(CARGO) build --locked --release -p skeind -p skein

# Formatting, lints and documents; the direction of dependencies is a test in tests/.
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet

# The tests start the real binaries, so those are built first.
test: tools check
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace
	target/debug/skein-bench smoke
	fuzz/run-short.sh $(FUZZ_SECONDS)

# The real servers that the tests run: PostgreSQL, Redis and a clock to turn from the system's
# packages, SMTP and S3 in a Python environment of their own.
tools: $(TOOLS)/python/ready
	tests/install-packages.sh

$(TOOLS)/python/ready: tests/requirements.txt
	$(PYTHON) -m venv $(TOOLS)/python
	$(TOOLS)/python/bin/python -m pip --quiet --disable-pip-version-check install -r tests/requirements.txt
	touch $@

# A longer run of every fuzz target: make fuzz FUZZ_SECONDS=600
fuzz:
	fuzz/run-short.sh $(FUZZ_SECONDS)

# The figures of bench/RESULTS.md.
bench:
	$(CARGO) build --locked --release --workspace --bins
	target/release/skein-bench pingpong
	target/release/skein-bench transfer

clean:
	$(CARGO) clean
