# make ci is what .ci/run calls.
STATICCHECK_VERSION := v0.8.2
BIN := $(CURDIR)/bin
REPORT := $(BIN)/test.json

.PHONY: ci test race vet staticcheck cross conformance foreign foreign-programs pyodide differential golden bench-quick bench-peers bench-compare stress-proc prove-casts prove-streams prove-stop prove-partition mutants mutants-quick

ci: test vet staticcheck cross race foreign conformance

# The README's test command.
test:
	go test ./...

race:
	go test -race -shuffle=on -timeout 10m ./...

vet:
	test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	go vet ./...
	go vet -tags foreign ./...

$(BIN)/staticcheck:
	GOBIN=$(BIN) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)

staticcheck: $(BIN)/staticcheck
	$(BIN)/staticcheck -tags foreign ./...

# Other systems build; their poller answers that it is not supported.
cross:
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./...

# Which of the 399 behaviours are passed, failed, not applicable, not yet.
conformance:
	mkdir -p $(BIN)
	go test -json ./... > $(REPORT)
	go run ./tests/conformance/report -from $(REPORT)

# program:package, of Debian. Only what is missing is installed: a program may be there from elsewhere.
FOREIGN := python3:python3 curl:curl openssl:openssl nc:netcat-openbsd socat:socat dig:bind9-dnsutils redis-cli:redis-tools wrk:wrk node:nodejs npm:npm

foreign-programs:
	@for p in $(FOREIGN); do command -v $${p%%:*} >/dev/null || missing="$$missing $${p##*:}"; done; \
	test -z "$$missing" || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; }

# Tests that talk to programs that are not ours.
foreign: foreign-programs pyodide
	go test -tags foreign -count=1 ./...

# Do the tests notice faults? Each row of tests/mutants/rows is a fault that must make a test
# fail; some of them in half a minute, all of them in half an hour. make mutants ONLY='poller|actors'
ONLY ?=
mutants:
	go run ./tests/mutants -only '$(ONLY)'

mutants-quick:
	go run ./tests/mutants -quick

# The newest CPython, for the random programs.
pyodide: foreign-programs
	cd tests/differential/python && npm ci --ignore-scripts --no-audit --no-fund --silent

# Random scheduling programs beside CPython: make differential SEEDS=100000 FIRST=7
SEEDS ?= 2000
FIRST ?= 0
differential: pyodide
	go test -tags foreign -count=1 -timeout 0 -v ./tests/differential -seeds $(SEEDS) -first $(FIRST)

# Record CPython's traces anew.
golden: foreign-programs
	go test -tags foreign -count=1 ./tests/conformance/...

# Each line that compares runs both sides in turns.
bench-quick:
	go test -run '^$$' -bench . -benchmem -benchtime 300ms ./internal/... ./actors
	go test -run '^$$' -bench 'Call|Task|Timer|Post' -benchmem -benchtime 300ms ./loopnode
	go test -run '^$$' -bench Sendfile -benchtime 100x ./loopnode
	go test -run '^$$' -bench 'BesideNet|Echo' -benchmem -benchtime 500ms ./transportactors
	go test -run '^$$' -bench TLS -benchtime 3x ./transportactors
	go test -run '^$$' -bench 'Spawn$$' -benchtime 200x ./transportactors
	go test -run '^$$' -bench Echo -benchtime 300ms ./bench/datagram
	go test -run '^$$' -bench . -benchtime 300ms ./cluster

# The cluster's promises at full size; the same tests run small in make test.
# 2,000,000 calls to an idle loop and to one that is stuck for 5 s: none lost.
prove-casts:
	go test -count=1 -v -timeout 20m -run 'PlainLoopOfCallSoon|StuckLoopSlows' ./cluster -casts 2000000 -stuck 5s

# 10 GiB to a connection of another node, in order, with bounded memory.
prove-streams:
	go test -count=1 -v -timeout 20m -run 'AStreamIsWhole' ./cluster -stream-bytes 10737418240

# A process is stopped 100 times for 1 to 30 s: nobody else is taken for dead.
prove-stop:
	go test -count=1 -v -timeout 60m -run 'AStoppedProcess' ./tests/multinode -stops 100 -stop-most 30s

# Three voters in network namespaces are cut off in turn; needs root and iproute2.
prove-partition:
	go test -count=1 -v -timeout 20m -tags netns -run 'Partitioned|CutOff' ./tests/multinode

# 10 000 children, 200 at a time: no zombie, no descriptor left.
stress-proc:
	go test -run '^$$' -bench SpawnStress -benchtime 1x ./transportactors

# Ours beside a C loop, libuv, Go's net, gnet, asyncio, uvloop and Node.js, as far as they are
# installed, in one interleaved run.
bench-peers:
	cd bench/peers && go run . -rounds 5

# This tree beside another commit, in one interleaved run: make bench-compare BEFORE=HEAD~10
BEFORE ?= HEAD
bench-compare:
	rm -rf $(BIN)/before && mkdir -p $(BIN)/before
	git archive $(BEFORE) | tar x -C $(BIN)/before
	cd $(BIN)/before/bench/peers && go build -o $(BIN)/peers-before .
	cd bench/peers && go run . -rounds 7 -peers loopmesh,before -also 'before=$(BIN)/peers-before -serve loopmesh'
