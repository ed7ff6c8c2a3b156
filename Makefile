# Freshet. `make help` lists the targets.
#
# One build folder a mode: build/ (release), build/asan, build/tsan, build/fuzz. Each wing becomes a library, so that
# a wing's unit tests link that wing and base alone.

MODE ?= release
ifeq ($(MODE),release)
B ?= build
else
B ?= build/$(MODE)
endif

CC ?= cc
WINGS := base cache cdc connectors
PKGS := libpq rdkafka hiredis yaml-0.1 libcurl libmicrohttpd jansson libxxhash
VERSION := 0.1.0

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wwrite-strings -Wno-format-truncation -Werror
CFLAGS_release := -O2 -g -fno-omit-frame-pointer
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LIBS_release := -ljemalloc
CFLAGS := -std=gnu17 -D_GNU_SOURCE -I. -pthread $(WARN) $(CFLAGS_$(MODE)) \
          -DFRESHET_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(EXTRA_CFLAGS)
LDFLAGS := -pthread $(filter -fsanitize=%,$(CFLAGS_$(MODE)))
LDLIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm $(LIBS_$(MODE))

sources = $(wildcard $(1)/*.c $(1)/*/*.c)
objects = $(patsubst %.c,$(B)/obj/%.o,$(call sources,$(1)))

.DEFAULT_GOAL := all
.PHONY: all
all: $(B)/freshet walls   ## build build/freshet (release, jemalloc, asserts on)

$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

define wing_rule
$(B)/lib/$(1).a: $$(call objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach wing,$(WINGS),$(eval $(call wing_rule,$(wing))))

LIBRARIES := $(patsubst %,$(B)/lib/%.a,cache cdc connectors base)
$(B)/freshet: $(call objects,server) $(LIBRARIES)
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

# The walls: a wing includes base and itself; base includes itself; only server sees them all.
.PHONY: walls
walls:   ## fail when a wing includes another wing
	@bad=0; for wing in $(WINGS); do \
	  if grep -nE '#include "(base|cache|cdc|connectors|server)/' -r $$wing --include=*.[ch] \
	     | grep -vE "#include \"(base|$$wing)/"; then echo "walls: $$wing includes another wing"; bad=1; fi; \
	done; exit $$bad

# Unit tests: tests/unit/<wing>/test_<subject>.c, one program each, linked with its wing and base.
UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c)
UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SOURCES))
$(B)/unit/server/%: tests/unit/server/%.c $(filter-out %/main.o,$(call objects,server)) $(LIBRARIES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP $(LDFLAGS) $^ $(LDLIBS) -lcmocka -o $@
define unit_rule
$(B)/unit/$(1)/%: tests/unit/$(1)/%.c $(sort $(B)/lib/$(1).a $(B)/lib/base.a)
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) -MMD -MP $(LDFLAGS) $$(filter %.c,$$^) $(B)/lib/$(1).a $(B)/lib/base.a $(LDLIBS) -lcmocka -o $$@
endef
$(foreach wing,$(WINGS),$(eval $(call unit_rule,$(wing))))

.PHONY: unit
unit: $(UNIT_PROGRAMS)   ## build and run the unit tests
	@set -e; for test in $(UNIT_PROGRAMS); do echo "== $$test"; $$test; done

.PHONY: clean
clean:   ## remove what was built (build/)
	rm -rf build

.PHONY: help
help:   ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##[ ]*/\t/' | expand -t 20

-include $(shell find $(B)/obj $(B)/unit -name '*.d' 2>/dev/null)
