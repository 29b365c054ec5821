# make ci is what .ci/run calls.
STATICCHECK_VERSION := v0.8.2
BIN := $(CURDIR)/bin
REPORT := $(BIN)/test.json

.PHONY: ci supply test race vet staticcheck cross conformance foreign foreign-programs manifest pyodide differential golden program packages bench bench-programs bench-quick bench-peers bench-compare bench-durable stress-proc prove prove-short prove-work prove-casts prove-streams prove-stop prove-partition prove-versions soak fuzz simulate mutants mutants-quick

ci: test vet staticcheck supply cross race manifest foreign conformance

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

# What of others is built in is listed and unchanged, and a second build, in another folder
# and without a cache, is the same program byte by byte.
supply:
	go mod verify
	go test -count=1 ./tests/supply
	rm -rf $(BIN)/twice && mkdir -p $(BIN)/twice/there
	git ls-files -z | tar c --null -T - | tar x -C $(BIN)/twice/there
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -o $(BIN)/twice/first ./cmd/loopmesh
	cd $(BIN)/twice/there && CGO_ENABLED=0 GOCACHE=$(BIN)/twice/cache go build -trimpath -buildvcs=false -o $(BIN)/twice/second ./cmd/loopmesh
	cd $(BIN)/twice && sha256sum first second && cmp first second
	rm -rf $(BIN)/twice

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
FOREIGN := python3:python3 curl:curl openssl:openssl nc:netcat-openbsd socat:socat dig:bind9-dnsutils redis-cli:redis-tools wrk:wrk node:nodejs npm:npm chromium:chromium tmux:tmux systemd-analyze:systemd dpkg:dpkg

foreign-programs:
	@for p in $(FOREIGN); do command -v $${p%%:*} >/dev/null || missing="$$missing $${p##*:}"; done; \
	test -z "$$missing" || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; }

# The program as packages and the container have it: static, without the paths of this machine.
BUILD ?= CGO_ENABLED=0 go build -trimpath -ldflags=-s
program:
	mkdir -p $(BIN)/packages $(BIN)/container
	$(BUILD) -o $(BIN)/packages/loopmesh ./cmd/loopmesh
	cp $(BIN)/packages/loopmesh $(BIN)/container/loopmesh

# A deb and an rpm in bin/packages, for the machine that builds them.
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4
VERSION ?= 0.0.0
packages: program
	rm -rf $(BIN)/packages/man && mkdir -p $(BIN)/packages/man
	$(BIN)/packages/loopmesh man $(BIN)/packages/man
	$(BIN)/packages/loopmesh completion bash > $(BIN)/packages/completion.bash
	for kind in deb rpm; do \
	ARCH=$$(go env GOARCH) VERSION=$(VERSION) go run $(NFPM) package -f deploy/packages/nfpm.yaml -p $$kind -t $(BIN)/packages || exit 1; \
	done

# Tests that talk to programs that are not ours: of the packages that have some.
foreign: foreign-programs pyodide
	go test -tags foreign -count=1 $$(grep -rl --include='*_test.go' --exclude-dir=bin '^//go:build.*foreign' . | xargs -n1 dirname | sort -u)

# Do the tests notice faults? Each row of tests/mutants/rows is a fault that must make a test
# fail; some of them in half a minute, all of them in half an hour. make mutants ONLY='poller|actors'
ONLY ?=
mutants:
	go run ./tests/mutants -only '$(ONLY)'

mutants-quick:
	go run ./tests/mutants -quick

# deploy/kubernetes against the types of Kubernetes, in a module of its own.
manifest:
	cd tests/deploy/kubernetes && go vet ./... && go test -count=1 ./...

# The newest CPython, for the random programs.
pyodide: foreign-programs
	cd tests/differential/python && npm ci --ignore-scripts --no-audit --no-fund --silent

# Random scheduling programs beside CPython: make differential SEEDS=100000 FIRST=7
FIRST ?= 0
differential: pyodide
	go test -tags foreign -count=1 -timeout 0 -v ./tests/differential -seeds $(or $(SEEDS),2000) -first $(FIRST)

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
	go test -run '^$$' -bench 'Spawn$$' -benchtime 200x ./transportactors/subprocess
	go test -run '^$$' -bench Echo -benchtime 300ms ./bench/datagram
	go test -run '^$$' -bench . -benchtime 300ms ./cluster

# What docs/durable-figures.md shows: calls for later and commands, how late they run, and what
# they take in the owner's memory. Some minutes.
bench-durable:
	go test -run '^$$' -bench 'Durable(Arm|Command|Effect)' -benchtime 5000x ./cluster/durable
	go test -run '^$$' -bench DurableLate -benchtime 2000x ./cluster/durable
	go test -run '^$$' -bench DurableMemory -benchtime 1x ./cluster/durable

# Processes that are killed, stopped, cut off and replaced under load, and what they wrote
# down checked against what is promised; ends in a table. A SEED plans the same faults again.
# Partitions need root and iproute2, the full disk needs root; without, they are left out and
# the table says so. The histories stay in bin/histories, and -judge reads them again.
# make test runs a small form.
SEED ?= 1
WALLCLOCK = -overlay $(BIN)/wallclock/overlay.json -tags disk,wallclock
prove: $(BIN)/wallclock
	rm -rf $(BIN)/histories && mkdir -p $(BIN)/histories
	go test -count=1 -v -timeout 60m $(WALLCLOCK) -run 'TestProve|TestFullDisk|TestAStoreThatFillsItself' ./tests/prove -seed $(SEED) -for 22m -longest 30s -keep $(BIN)/histories

prove-short: $(BIN)/wallclock
	go test -count=1 -v -timeout 20m $(WALLCLOCK) -run 'TestProve|TestFullDisk|TestAStoreThatFillsItself' ./tests/prove -seed $(SEED) -for 2m

# A standard library whose wall clock can be stepped, for the nodes of the campaign.
.PHONY: $(BIN)/wallclock
$(BIN)/wallclock:
	go run ./tests/prove/wallclock $@

# The cluster's promises at full size; the same tests run small in make test.
# 2,000,000 calls to an idle loop and to one that is stuck for 5 s: none lost.
prove-casts:
	go test -count=1 -v -timeout 20m -run 'PlainLoopOfCallSoon|StuckLoopSlows' ./cluster -casts 2000000 -stuck 5s

# 100,000 calls for later and 200,000 commands, while every process that has to do with them is
# killed in turn and all at once: each has its effect once. It waits for the disk, so it takes
# half an hour or more: make prove-work TIMERS=10000 COMMANDS=20000
TIMERS ?= 100000
COMMANDS ?= 200000
prove-work:
	go test -count=1 -v -timeout 3h -run 'KillAnyProcess' ./cluster/durable -kill-timers $(TIMERS) -kill-commands $(COMMANDS) -kill-limit 2h

# 10 GiB to a connection of another node, in order, with bounded memory.
prove-streams:
	go test -count=1 -v -timeout 20m -run 'AStreamIsWhole' ./cluster -stream-bytes 10737418240

# A process is stopped 100 times for 1 to 30 s: nobody else is taken for dead.
prove-stop:
	go test -count=1 -v -timeout 60m -run 'AStoppedProcess' ./tests/multinode -stops 100 -stop-most 30s

# Three voters in network namespaces are cut off in turn; needs root and iproute2.
prove-partition:
	go test -count=1 -v -timeout 20m -tags netns -run 'Partitioned|CutOff' ./tests/multinode

# Plans of faults in virtual time, with the real nodes and the real NATS server in one process:
# make simulate SEEDS=10000, and make simulate SEEDS=1 FIRST=4711 for one that failed.
simulate:
	go test -count=1 -timeout 0 -v -run TestSimulate ./tests/simulate -seeds $(or $(SEEDS),1000) -first $(FIRST)

# Programs of two wire versions on one NATS: each built as one of the version before, and as
# one of the version behind this.
prove-versions:
	go test -count=1 -v -timeout 20m -tags versions -run 'TwoVersions' ./tests/multinode

# Does anything rise? A cluster of processes under a mixed load for an hour, or FOR=10m: memory,
# goroutines, descriptors and the time of calls, and a line through each.
soak:
	go test -count=1 -v -timeout 0 -run TestSoak ./tests/soak -for $(or $(FOR),1h)

# Every fuzz target, a minute each or FOR=10m: make fuzz ONLY='wire|keys'. An input that breaks
# a promise goes to testdata/fuzz of its package, where make test runs it from then on.
fuzz:
	go run ./tests/fuzz -for $(or $(FOR),60s) -only '$(ONLY)'

# 10 000 children, 200 at a time: no zombie, no descriptor left.
stress-proc:
	go test -run '^$$' -bench SpawnStress -benchtime 1x ./transportactors

# Everything that docs/performance.md and the README show, in one run of a quarter of an hour on a
# machine that does nothing else. What it measured stays in bin/.
BENCH_ROUNDS ?= 5
bench: bench-programs
	mkdir -p $(BIN)
	cd bench/peers && go run . -rounds $(BENCH_ROUNDS) -raw $(BIN)/peers.csv
	{ go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'PingPongSameLoop|AskFromGoroutine' ./actors && \
	go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'CallSoon|TaskSwitch$$|TaskSpawn' ./loopnode && \
	go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'IdleLoop|TwoLoops|Growth/(timers=1000*|tasks=1000*|waiters=1000000)$$' -benchtime 1x ./loopnode && \
	go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'Sendfile/(1024|65536)KiB' -benchtime 50x ./loopnode && \
	go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'FanOut' ./transportactors && \
	go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'TLSEcho/(1|64)$$|TLSHandshake|TLSIdle' -benchtime 1x ./transportactors && \
	go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'Spawn$$' -benchtime 200x ./transportactors/subprocess && \
	go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'Echo/.*/window=64' -benchtime 500ms ./bench/datagram && \
	go test -run '^$$' -count $(BENCH_ROUNDS) -bench 'Call$$|CallPipelined/loopback|CallSoon/loopback|Stream|AbsentNode/loopback|Idle' ./cluster; \
	} > $(BIN)/bench.txt || { cat $(BIN)/bench.txt; exit 1; }
	cd bench/peers && go run ./report -peers $(BIN)/peers.csv -bench $(BIN)/bench.txt -tree $(CURDIR)

# program or library:package, of Debian; a peer that is missing all the same is left out, and said.
bench-programs:
	@command -v cc >/dev/null && test -f /usr/include/uv.h && /usr/bin/python3 -c 'import uvloop' 2>/dev/null || \
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends gcc libc6-dev libuv1-dev python3-uvloop; }

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
