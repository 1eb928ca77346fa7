# Every target is one line; what is longer lives in .ci/. Continuous integration calls these same targets.

# Go needs a home for its caches; a machine without one gets it under build/ (a leading dot keeps it out of ./...).
export HOME := $(or $(HOME),$(CURDIR)/build/.home)
# An ordinary user's PATH often lacks Go's usual place and the administrator's tools.
export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin

TAGS    := urfave_cli_no_docs,netgo,osusergo
# -E: what runs before Go's runtime, cmd/hutch/entry_unsafe.go.
LDFLAGS  = -s -w -E hutch_entry $(shell .ci/version.sh -X)

.PHONY: compare compare-example deps-compare run build build-arm64 test lint test-guest bench golden fuzz guest-kernel guest-kernels deps deps-test demo-root clean

run: build demo-root ## run a real application in a box and show what was enforced
	@.ci/demo.sh

build: deps ## bin/hutch, one static binary
	@.ci/carried.sh '$(TAGS)'
	@CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/.linked ./cmd/hutch
	@# What the linker has written lies in the page cache in another way than a copy, which starts in 0.95 of the time.
	@cp bin/.linked bin/.copied && mv bin/.copied bin/hutch && rm bin/.linked

build-arm64: ## compile for arm64 everything that needs no C library
	@.ci/arm64.sh

test: deps-test build ## all tests; as root also the rootless half as another user
	@.ci/test.sh '$(TAGS)'

test-guest: deps-test build ## the tests of limits and isolation in a User Mode Linux guest
	@.ci/test-guest.sh '$(TAGS)'

lint: deps ## vet, staticcheck, gofumpt and the rules of the house; silent when clean
	@.ci/lint.sh '$(TAGS)'

bench: build ## the table of speed and memory (BENCH='--only NAME --runs N --json')
	@go run -buildvcs=false ./cmd/bench $(BENCH)

compare: build deps-compare ## the engines side by side: build/compare.html, .json and a table (COMPARE='--suite --rounds 10')
	@bin/hutch compare $(or $(COMPARE),--suite --quick --peers) --json build/compare.json --html build/compare.html

compare-example: build deps-compare ## measure the README's example of a comparison again, and put it there
	@COMPARE="$(COMPARE)" .ci/compare-example.sh

guest-kernel: ## get Debian's cloud kernel for --engine kvm, without installing it (FLAVOUR=amd64: the one with 9p)
	@.ci/guest-kernel.sh $(FLAVOUR)

guest-kernels: ## build small kernels for --engine uml and kvm
	@.ci/guest-kernels.sh

golden: deps ## rewrite the golden files from what the code does now
	@.ci/carried.sh '$(TAGS)'
	@.ci/golden.sh '$(TAGS)'

fuzz: deps ## every fuzz function for FUZZTIME (default 30s)
	@.ci/fuzz.sh '$(TAGS)'

deps: ## install what the build lacks
	@.ci/deps.sh build

deps-test: ## install what the tests lack
	@.ci/deps.sh build demo test

deps-compare:
	@mkdir -p build && .ci/deps.sh build compare

demo-root: build/demo.tar.zst ## a small root filesystem out of Debian packages

build/demo.tar.zst: .ci/demo-root.sh
	@.ci/deps.sh demo && .ci/demo-root.sh $@

clean: ## remove what was built
	@chmod -R u+w build 2>/dev/null; rm -rf bin build cmd/hutch/embedded/*.gz
