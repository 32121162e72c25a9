# What people type. `make run` starts the server, `make test` runs every check and test.

CARGO ?= cargo
PYTHON ?= python3
TOOLS := target/tools
# Seconds that each fuzz target runs.
FUZZ_SECONDS ?= 60

.PHONY: run build check test cluster faults tools fuzz bench peers clean

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

# Everything is built once, with the features that all of it needs together; the tests start the real
# binaries from there. The last line is the short form of `make faults`.
test: tools check
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace
	target/debug/skein-bench smoke
	target/debug/examples/faults --short

# A whole cluster on this machine, each part the real one; it prints what to type. Ctrl-C stops it.
# Kept over restarts with: make cluster ARGS="--folder cluster-data"
cluster: tools
	$(CARGO) build --locked --release -p skeind -p skein -p skein-tests --bins --example cluster
	exec target/release/examples/cluster $(ARGS)

# The proof: 200 clients over a cluster whose parts fail one by one; some ten minutes.
faults: tools
	$(CARGO) build --locked --release -p skeind -p skein-tests --bins --example faults
	target/release/examples/faults $(ARGS)

# The real servers that the tests run: PostgreSQL, Redis and a clock to turn from the system's
# packages, SMTP and S3 in a Python environment of their own.
tools: $(TOOLS)/python/ready
	tests/install-packages.sh

$(TOOLS)/python/ready: tests/requirements.txt
	$(PYTHON) -m venv $(TOOLS)/python
	$(TOOLS)/python/bin/python -m pip --quiet --disable-pip-version-check install -r tests/requirements.txt
	touch $@

# Every fuzz target for a while, with a nightly compiler: make fuzz FUZZ_SECONDS=600
# (`make test` runs the same checks on seeded mutations.)
fuzz:
	fuzz/run-short.sh $(FUZZ_SECONDS)

# The figures of bench/RESULTS.md: each command puts its table there in place of the last one, and
# leaves the words to people.
bench: peers
	$(CARGO) build --locked --profile dist --workspace --bins
	target/dist/skein-bench --record bench/RESULTS.md pingpong --sessions 1000 --rate 1000 --seconds 10
	target/dist/skein-bench --record bench/RESULTS.md pingpong --sessions 10000 --rate 1000 --seconds 10
	target/dist/skein-bench --record bench/RESULTS.md pingpong --sessions 1000 --rate 5000 --seconds 10
	target/dist/skein-bench --record bench/RESULTS.md transfer --bytes 256MiB
	target/dist/skein-bench --record bench/RESULTS.md loss
	target/dist/skein-bench --record bench/RESULTS.md priority
	target/dist/skein-bench --record bench/RESULTS.md networks --plots docs/networks

# What stands beside Skein in `skein-bench networks`: a tus server and client, and an XMPP client, for
# Node; ejabberd from the system's packages.
peers: $(TOOLS)/tus/ready $(TOOLS)/xmpp/ready
	bench/install-ejabberd.sh

$(TOOLS)/%/ready: bench/%/package.json bench/%/package-lock.json $(wildcard bench/tus/*.mjs bench/xmpp/*.mjs)
	mkdir -p $(TOOLS)/$*
	cp bench/$*/* $(TOOLS)/$*
	cd $(TOOLS)/$* && npm ci --silent --omit=optional --no-audit --no-fund
	touch $@

clean:
	$(CARGO) clean
