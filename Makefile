# Freshet. `make help` lists the targets.
#
# A mode has its own folder: build/ (release), build/asan, build/tsan, build/fuzz. Each wing becomes a library, so that
# a wing's unit tests link that wing and base alone. `V=1` shows the commands.

MODE ?= release
ifeq ($(MODE),release)
B ?= build
else
B ?= build/$(MODE)
endif
ifeq ($(MAKELEVEL)$(findstring -j,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif
Q := $(if $(V),,@)

VERSION := 0.1.0
PREFIX ?= /usr/local
WINGS := base cache cdc connectors
PKGS := libpq rdkafka hiredis openssl yaml-0.1 libcurl libmicrohttpd jansson libxxhash zlib

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wwrite-strings -Wno-format-truncation -Werror
CFLAGS_release := -O2 -g -fno-omit-frame-pointer
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LIBS_release := -ljemalloc

# Fuzz targets: libFuzzer where clang has it, else our own mutator with gcc (tests/fuzz/mutator.c).
LIBFUZZER := $(and $(filter fuzz,$(MODE)),$(wildcard $(shell clang -print-file-name=libclang_rt.fuzzer-$(shell uname -m).a 2>/dev/null)))
ifeq ($(MODE),fuzz)
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
ifneq ($(LIBFUZZER),)
CC := clang
CFLAGS_fuzz += -fsanitize=fuzzer-no-link -Wno-unknown-warning-option
endif
endif

CFLAGS := -std=gnu17 -D_GNU_SOURCE -I. -pthread $(WARN) $(CFLAGS_$(MODE)) \
          -DFRESHET_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(EXTRA_CFLAGS)
LDFLAGS := -pthread $(filter -fsanitize=%,$(CFLAGS_$(MODE)))
LDLIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm $(LIBS_$(MODE))

.DEFAULT_GOAL := all
.PHONY: all
all: $(B)/freshet walls   ## build build/freshet (release, jemalloc, asserts on)

# ---- compiling and linking

sources = $(wildcard $(1)/*.c $(1)/*/*.c)
objects = $(patsubst %.c,$(B)/obj/%.o,$(call sources,$(1)))

# A file that holds its text and is written only when the text differs: what depends on it follows a change of flags, or
# of a list of sources.
.PHONY: always
always:
keep_text = mkdir -p $(@D) && { echo '$(subst ','\'',$(1))' | cmp -s - $@ || echo '$(subst ','\'',$(1))' >$@; }

$(B)/flags: always
	@pkg-config --exists --print-errors $(PKGS) || { echo "make: run tests/deps build, which installs what is missing"; exit 1; }
	@$(call keep_text,$(CC) $(CFLAGS) $(LDFLAGS) $(LDLIBS))

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  cc   $<")
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

define library_rule
$(B)/lib/$(1).list: always
	@$$(call keep_text,$(2))
$(B)/lib/$(1).a: $(2) $(B)/lib/$(1).list
	$(if $(V),,@echo "  ar   $$@")
	@mkdir -p $$(@D) && rm -f $$@
	$(Q)ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach wing,$(WINGS),$(eval $(call library_rule,$(wing),$(call objects,$(wing)))))
# The composition root too, so that its tests link all of it but main.
$(eval $(call library_rule,server,$(filter-out %/main.o,$(call objects,server))))

LIBRARIES := $(patsubst %,$(B)/lib/%.a,server cache cdc connectors base)
ifeq ($(MODE),tsan)
LIBRARIES := $(B)/obj/tests/sanitizers/c11threads.o $(LIBRARIES)
endif
LINK = $(if $(V),,@echo "  link $@" &&) $(CC) $(CFLAGS) $(LDFLAGS)

$(B)/freshet: $(B)/obj/server/main.o $(LIBRARIES)
	$(LINK) $^ $(LDLIBS) -o $@

# The walls: a wing includes base and itself; base includes itself; only server sees them all.
.PHONY: walls
walls:   ## fail when a wing includes another wing
	@bad=0; for wing in $(WINGS); do \
	  if grep -rnE '#[[:space:]]*include[[:space:]]*["<]([.][.]/|(base|cache|cdc|connectors|server)/)' $$wing --include='*.[ch]' \
	     | grep -vE "include[[:space:]]*\"(base|$$wing)/"; then echo "walls: $$wing includes another wing"; bad=1; fi; \
	done; exit $$bad

.PHONY: reference
reference: $(B)/freshet   ## write config/reference.md from the tables of options and commands
	@$(B)/freshet reference >$(B)/reference.md && mv $(B)/reference.md config/reference.md

.PHONY: install
install: $(B)/freshet   ## install to PREFIX (/usr/local)
	install -D -m 755 $(B)/freshet $(DESTDIR)$(PREFIX)/bin/freshet

# ---- the two commands

.PHONY: demo
demo:   ## the main job on a throwaway database; KEEP=1 leaves it running, KAFKA=1 adds a broker
	@tests/deps demo
	$(if $(KAFKA),@tests/deps java && tests/maven/fetch kafka)
	@$(MAKE) --no-print-directory all
	@KEEP=$(KEEP) KAFKA=$(KAFKA) tests/demo/run

.PHONY: test
test:   ## install what is missing, build, run every test
	@tests/deps test
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory integration

# ---- tests

# tests/unit/<wing>/test_<subject>.c: one program each, linked with its wing and base; those of server with everything.
UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*/test_*.c))
define unit_rule
$(B)/unit/$(1)/%: tests/unit/$(1)/%.c $(B)/flags $(2)
	@mkdir -p $$(@D)
	$$(LINK) -MMD -MP $$< $(2) $$(LDLIBS) -lcmocka -o $$@
endef
$(foreach wing,$(WINGS),$(eval $(call unit_rule,$(wing),$(B)/lib/$(wing).a $(filter-out $(B)/lib/$(wing).a,$(B)/lib/base.a))))
$(eval $(call unit_rule,server,$(LIBRARIES)))

# TSan's deadlock detector dies of a thread that holds more than 64 locks, as one that locks every shard does.
SANITIZERS := ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1 \
              LSAN_OPTIONS=suppressions=$(CURDIR)/tests/sanitizers/lsan.supp:print_suppressions=0 \
              TSAN_OPTIONS=suppressions=$(CURDIR)/tests/sanitizers/tsan.supp:halt_on_error=1:detect_deadlocks=0

.PHONY: unit
unit: $(UNIT_PROGRAMS)   ## build and run the unit tests (UNIT=pattern for some)
	@$(SANITIZERS) tests/unit/run $(filter $(B)/unit/$(or $(UNIT),%),$(UNIT_PROGRAMS))

build/venv/.complete: tests/requirements.txt
	@echo "  venv build/venv"
	@rm -rf build/venv && python3 -m venv build/venv && build/venv/bin/pip install -q -r $<
	@cp $< $@

# Unit tests that want a server: in `make unit`, without one, they skip.
DATABASE_UNITS := $(B)/unit/base/test_catalog $(B)/unit/base/test_publication

# tests/integration/drivers/<name>.c: small programs that tests drive a part with.
DRIVERS := $(patsubst tests/integration/drivers/%.c,$(B)/drivers/%,$(wildcard tests/integration/drivers/*.c))
$(B)/drivers/%: tests/integration/drivers/%.c $(B)/flags $(B)/lib/cdc.a $(B)/lib/base.a
	@mkdir -p $(@D)
	$(LINK) $< $(B)/lib/cdc.a $(B)/lib/base.a $(LDLIBS) -o $@

# The same program with a switch for each rule of coherence (cache/rows/core.h): the tests see that each is needed.
RULES_OBJECTS := $(patsubst %.c,$(B)/rules/%.o,$(shell grep -lE 'core_rule_holds|core_lease_holds|FRESHET_TEST_SWITCHES' cache/*.c cache/*/*.c))
$(B)/rules/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  cc   $< (rules)")
	$(Q)$(CC) $(CFLAGS) -DFRESHET_TEST_SWITCHES -MMD -MP -c $< -o $@
# The simulation takes rules out, too.
$(B)/unit/cache/test_core_simulation: tests/unit/cache/test_core_simulation.c $(RULES_OBJECTS) $(B)/lib/cache.a $(B)/lib/base.a
	@mkdir -p $(@D)
	$(LINK) -DFRESHET_TEST_SWITCHES -MMD -MP $(filter-out %.h,$^) $(LDLIBS) -lcmocka -o $@
$(B)/freshet-rules: $(B)/obj/server/main.o $(RULES_OBJECTS) $(LIBRARIES)
	$(LINK) $^ $(LDLIBS) -o $@

# Files of tests side by side, each with servers of its own.
WORKERS ?= 2
.PHONY: integration
integration: $(B)/freshet $(B)/freshet-rules $(DRIVERS) $(DATABASE_UNITS) build/venv/.complete   ## tests against real servers (ARGS for pytest, WORKERS=2)
	@tests/maven/fetch
	@$(SANITIZERS) FRESHET_BINARY=$(B)/freshet WORKERS=$(WORKERS) tests/integration/run build/venv/bin/python $(ARGS)

# tests/fuzz/fuzz_<parser>.c, with the corpus tests/fuzz/corpus/<parser>/; what is found anew stays below build/.
FUZZ_SECONDS ?= 5
FUZZ_PROGRAMS := $(patsubst tests/fuzz/%.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
$(B)/fuzz_%: tests/fuzz/fuzz_%.c $(B)/flags $(LIBRARIES) tests/fuzz/mutator.c
	@mkdir -p $(@D)
	$(LINK) $(if $(LIBFUZZER),-fsanitize=fuzzer $<,$< tests/fuzz/mutator.c) $(LIBRARIES) $(LDLIBS) -o $@

.PHONY: fuzz
ifeq ($(MODE),fuzz)
fuzz: $(FUZZ_PROGRAMS)
	@$(SANITIZERS) FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run $(FUZZ_PROGRAMS)
else
fuzz:   ## hostile bytes for every parser, FUZZ_SECONDS (5) each
	@$(MAKE) --no-print-directory MODE=fuzz B=build/fuzz fuzz
endif

.PHONY: check-redis
check-redis: $(B)/freshet   ## Redis's own test suite against redis-server and Freshet (UNITS="type/list scan")
	@tests/deps redis
	@tests/redis/fetch build/parts/redis
	@tests/redis/run build/parts/redis $< $(UNITS)

# Time is shared among the faults; tests/coherence/hunt --help names them.
SECONDS ?= 120
FAULTS ?= all
.PHONY: check-coherence check-coherence-rules
check-coherence: $(B)/freshet build/venv/.complete   ## hunt for stale reads beside faults (SECONDS=120, FAULTS="none cut", SEED)
	@tests/deps test
	@FRESHET_BINARY=$< build/venv/bin/python tests/coherence/hunt --seconds $(SECONDS) --faults "$(FAULTS)" \
	  $(if $(SEED),--seed $(SEED)) --json build/check-coherence.json

check-coherence-rules: $(B)/freshet-rules build/venv/.complete   ## the hunter finds each rule of coherence that is taken out, in SECONDS at most
	@tests/deps test
	@FRESHET_BINARY=$< build/venv/bin/python tests/coherence/hunt --seconds $(SECONDS) --without $(or $(RULES),all) \
	  $(if $(SEED),--seed $(SEED))

# Exactly once; and at least once, where the same audit must find the repeats.
.PHONY: check-exactly-once
check-exactly-once: $(B)/freshet build/venv/.complete   ## kills and cuts of all kinds, and each change once (SECONDS=120, FAULTS="kill zombie", SEED)
	@tests/deps test
	@tests/maven/fetch kafka
	@FRESHET_BINARY=$< build/venv/bin/python tests/delivery/storm --seconds $(SECONDS) --faults "$(FAULTS)" \
	  $(if $(SEED),--seed $(SEED)) --json build/check-exactly-once.json
	@FRESHET_BINARY=$< build/venv/bin/python tests/delivery/storm --delivery at-least-once --seconds 15 --faults kill \
	  $(if $(SEED),--seed $(SEED))

.PHONY: check-debezium
check-debezium: $(B)/freshet build/venv/.complete   ## a long SQL script through Debezium and Freshet in every mode, event by event (ARGS for pytest)
	@tests/deps test
	@tests/maven/fetch
	@FRESHET_BINARY=$< build/venv/bin/python -m pytest -v tests/integration/debezium_long.py $(ARGS)

.PHONY: check-clients
check-clients: $(B)/freshet   ## clients of other languages: ioredis, node-redis, go-redis, Jedis
	@tests/deps clients
	@$(MAKE) --no-print-directory build/venv/.complete
	@tests/clients/build
	@FRESHET_BINARY=$< build/venv/bin/python -m pytest -v tests/integration/clients.py

.PHONY: check-asan check-tsan
check-asan check-tsan: check-%:   ## unit and integration tests under ASan+UBSan, under TSan
	@tests/deps test
	@$(MAKE) --no-print-directory MODE=$* B=build/$* unit
	@FRESHET_TEST_PATIENCE=4 PYTEST_TIMEOUT=720 $(MAKE) --no-print-directory MODE=$* B=build/$* integration

$(B)/bench/feed_null: tests/bench/feed_null.c $(B)/flags $(B)/lib/cdc.a $(B)/lib/base.a
	@mkdir -p $(@D)
	$(LINK) $< $(B)/lib/cdc.a $(B)/lib/base.a $(LDLIBS) -o $@

.PHONY: bench-feed
bench-feed: $(B)/bench/feed_null   ## the feed alone beside pg_recvlogical (ROWS, ROUNDS)
	@tests/bench/bench-feed $< build/bench-feed.json

# The generator and the floor share no code with what they measure.
$(B)/bench/load $(B)/bench/floor: $(B)/bench/%: tests/bench/%.c $(B)/flags
	@mkdir -p $(@D)
	$(LINK) $< -lm -o $@

.PHONY: bench-hit
bench-hit: $(B)/freshet $(B)/bench/load $(B)/bench/floor build/venv/.complete   ## reads from memory beside redis-server, Valkey, memcached and the floor (ARGS)
	@tests/deps bench
	@build/venv/bin/python tests/bench/bench-hit $(B) --json build/bench-hit.json $(ARGS)

.PHONY: bench-instructions
bench-instructions: $(B)/freshet $(B)/bench/load   ## instructions per read from memory, by callgrind: the same each time
	@tests/deps bench
	@tests/bench/bench-instructions $(B) build/bench-instructions.json

# Alone in wanting liburing.
$(B)/bench/floor_uring: tests/bench/floor_uring.c $(B)/flags
	@tests/deps bench
	@mkdir -p $(@D)
	$(LINK) $< -luring -o $@

.PHONY: bench-io
bench-io: $(B)/bench/load $(B)/bench/floor $(B)/bench/floor_uring   ## what io_uring could save over epoll: two floors side by side (ROUNDS)
	@python3 tests/bench/bench-io $(B) --json build/bench-io.json

$(B)/bench/evict_sim $(B)/bench/growth $(B)/bench/coherence_cost: $(B)/bench/%: tests/bench/%.c tests/bench/traces.h $(B)/flags $(B)/lib/cache.a $(B)/lib/base.a
	@mkdir -p $(@D)
	$(LINK) $< $(B)/lib/cache.a $(B)/lib/base.a $(LDLIBS) -o $@

$(B)/bench/evict_drive: tests/bench/evict_drive.c tests/bench/traces.h $(B)/flags
	@mkdir -p $(@D)
	$(LINK) $< -lm -o $@

.PHONY: bench-evict
bench-evict: $(B)/freshet $(B)/bench/evict_drive $(B)/bench/evict_sim build/venv/.complete   ## misses beside Redis's LRU and LFU, exact LRU and S3-FIFO (ARGS, e.g. --only zipf)
	@build/venv/bin/python tests/bench/bench-evict $(B) --json build/bench-evict.json $(ARGS)
	@$(B)/bench/evict_sim

$(B)/bench/miss_drive $(B)/bench/lag_drive: $(B)/bench/%: tests/bench/%.c $(B)/flags
	@mkdir -p $(@D)
	$(LINK) $< -lpq -lpthread -o $@

.PHONY: bench-miss
bench-miss: $(B)/freshet $(B)/bench/miss_drive build/venv/.complete   ## cold reads beside one SELECT a read, direct and through PgBouncer (ARGS)
	@tests/deps bench
	@build/venv/bin/python tests/bench/bench-miss $(B) --json build/bench-miss.json $(ARGS)

.PHONY: bench-coherence
bench-coherence: $(B)/bench/coherence_cost   ## nanoseconds that coherence costs a fill and a hit
	@$<

.PHONY: bench-evict-lag
bench-evict-lag: $(B)/freshet $(B)/bench/lag_drive build/venv/.complete   ## from pg_recvlogical's printing of a commit to the entry gone (ARGS)
	@tests/deps bench
	@build/venv/bin/python tests/bench/bench-evict-lag $(B) --json build/bench-evict-lag.json $(ARGS)

.PHONY: bench-growth
bench-growth: $(B)/bench/growth   ## how long single insertions take while 10M keys come in
	@$<

.PHONY: bench-memory
bench-memory: $(B)/freshet build/venv/.complete   ## bytes of resident memory a key beside redis-server (ARGS, e.g. --growth)
	@build/venv/bin/python tests/bench/bench-memory $(B) --json build/bench-memory.json $(ARGS)

.PHONY: bench-redis
bench-redis: $(B)/freshet build/venv/.complete   ## the Redis connector's load beside redis-benchmark's SET (ARGS, e.g. --rows, --as hash)
	@build/venv/bin/python tests/bench/bench-redis $(B) $(ARGS)

$(B)/bench/produce_floor: tests/bench/produce_floor.c $(B)/flags
	@mkdir -p $(@D)
	$(LINK) $< -lrdkafka -ljemalloc -o $@

.PHONY: bench-snapshot
bench-snapshot: $(B)/freshet $(B)/bench/produce_floor build/venv/.complete   ## the initial snapshot into Kafka beside COPY to /dev/null (ARGS, e.g. --rows)
	@build/venv/bin/python tests/bench/bench-snapshot $(B) --json build/bench-snapshot.json $(ARGS)

.PHONY: bench-cdc
bench-cdc: $(B)/freshet $(B)/bench/produce_floor build/venv/.complete   ## rows into Kafka beside pg_recvlogical (ARGS, e.g. --debezium)
	@build/venv/bin/python tests/bench/bench-cdc $(B) --json build/bench-cdc.json $(ARGS)

.PHONY: bench-connector
bench-connector: $(B)/freshet build/venv/.complete   ## connectors beside what their targets can take (ARGS, e.g. --rows, --only search)
	@build/venv/bin/python tests/bench/bench-connector $(B) --json build/bench-connector.json $(ARGS)

.PHONY: bench-streaming
bench-streaming: $(B)/freshet build/venv/.complete   ## a large transaction, sent while it is open or at its commit (ARGS)
	@build/venv/bin/python tests/bench/bench-streaming $(B) $(ARGS)

.PHONY: test-compose
test-compose:   ## docker-compose.yml as it stands, on the Docker engine that is there
	@tests/compose/run

.PHONY: lint
lint:   ## clang-format, clang-tidy, cppcheck
	clang-format --dry-run -Werror $(foreach dir,$(WINGS) server tests/unit tests/fuzz tests/bench,$(wildcard $(dir)/*.[ch] $(dir)/*/*.[ch]))
	cppcheck -q --std=c11 --enable=warning,portability,performance --inline-suppr --error-exitcode=1 \
	  --suppress=identicalInnerCondition --suppress=ctuuninitvar -I. $(WINGS) server
	printf '%s\n' $(foreach dir,$(WINGS) server,$(call sources,$(dir))) | xargs -P $$(nproc) -I{} clang-tidy --quiet {} -- $(CFLAGS) -Wno-unknown-warning-option

.PHONY: clean
clean:   ## remove what was built (build/)
	rm -rf build

.PHONY: help
help:   ## this list
	@sed -nE 's/^([a-z][a-z -]*):.*##[ ]*/\1\t/p' $(MAKEFILE_LIST) | expand -t 24

-include $(shell find $(B)/obj $(B)/rules $(B)/unit -name '*.d' 2>/dev/null)
