# Sinter's build. `make demo` and `make check` do everything on a fresh Debian 12 (docs/decisions.md says why plain make).
SHELL := /bin/bash
BUILD ?= build
CC := gcc
PREFIX ?= /usr/local
LLVM_CONFIG ?= $(firstword $(foreach n,24 23 22 21 20 19,$(shell command -v llvm-config-$(n) 2>/dev/null)))
WARN := -Wall -Wextra -Werror -Wno-unused-parameter -Wmissing-prototypes -Wvla
OPT ?= -O2 -g
CFLAGS += -std=gnu11 -D_GNU_SOURCE $(OPT) $(WARN) -I. -I$(BUILD) $(SAN)
LDFLAGS += $(SAN)
LLVM_CFLAGS = $(shell $(LLVM_CONFIG) --cflags 2>/dev/null | tr ' ' '\n' | grep '^-I')
LLVM_LIBS = $(shell $(LLVM_CONFIG) --ldflags --libs 2>/dev/null)

rooms := support ir frontend passes backend convert driver
src_of = $(wildcard $(1)/*.c)
obj_of = $(patsubst %.c,$(BUILD)/%.o,$(call src_of,$(1)))
$(foreach r,$(rooms),$(eval $(r)_obj := $(call obj_of,$(r))))
frontend_obj += $(BUILD)/frontend/lex.o $(BUILD)/frontend/parse.o
frontend_obj := $(sort $(frontend_obj))

.PHONY: all
all: $(BUILD)/sinter $(BUILD)/libsinter_rt.a

# Each room is a library, so that a test links what it may use and no more.
libs := $(foreach r,support ir frontend passes backend convert,$(BUILD)/lib$(r).a)
define room
$(BUILD)/lib$(1).a: $$($(1)_obj)
	@rm -f $$@; ar rcs $$@ $$^
endef
$(foreach r,support ir frontend passes backend convert,$(eval $(call room,$(r))))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D); echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/backend/%.o: CFLAGS += $(LLVM_CFLAGS)
$(BUILD)/backend/link.o: CFLAGS += $(if $(SAN),-DSN_SANITIZE='"$(filter -fsanitize=% --coverage,$(SAN))"')
# Blocks of weights are what ggml's reference computes: no product and sum in one rounding.
$(BUILD)/convert/quants.o: CFLAGS += -ffp-contract=off
$(BUILD)/frontend/parse.c $(BUILD)/frontend/parse.h: frontend/parse.y
	@mkdir -p $(@D)
	bison -Werror -Wno-other -d -o $(BUILD)/frontend/parse.c $<
$(BUILD)/frontend/lex.c: frontend/lex.l
	@mkdir -p $(@D)
	flex -o $@ $<
$(BUILD)/frontend/lex.o: $(BUILD)/frontend/lex.c $(BUILD)/frontend/parse.h
$(BUILD)/frontend/parse.o: $(BUILD)/frontend/parse.c
$(BUILD)/frontend/lex.o $(BUILD)/frontend/parse.o:
	@echo "  cc $(patsubst %.o,%.c,$@)"; $(CC) $(CFLAGS) -Wno-error -Ifrontend -MMD -MP -c $(patsubst %.o,%.c,$@) -o $@
$(frontend_obj): | $(BUILD)/frontend/parse.h
$(BUILD)/frontend/prelude.o: models/prelude.sinter
$(BUILD)/driver/pages.md: $(wildcard docs/errors/*.md)
	@mkdir -p $(@D); cat $^ > $@
$(BUILD)/driver/explain.o: $(BUILD)/driver/pages.md
$(BUILD)/driver/explain.o: CFLAGS += -DSINTER_PAGES='"$(BUILD)/driver/pages.md"'

link_libs := -Wl,--start-group $(BUILD)/libfrontend.a $(BUILD)/libpasses.a $(BUILD)/libbackend.a $(BUILD)/libir.a $(BUILD)/libsupport.a -Wl,--end-group
# Some commands do what the runtime does (tokenizers), with the runtime's own code.
$(BUILD)/sinter: $(driver_obj) $(libs) $(BUILD)/libsinter_rt.a
	@echo "  link $@"; $(CC) $(LDFLAGS) -o $@ $(driver_obj) $(BUILD)/libconvert.a $(link_libs) $(BUILD)/libsinter_rt.a $(LLVM_LIBS) -lm -lpthread

# The runtime is compiled for users' executables: small but for what goes through texts and tensors, sections to drop, no baked-in target.
rt_obj := $(patsubst runtime/%.c,$(BUILD)/runtime/%.o,$(wildcard runtime/*.c))
$(BUILD)/runtime/%.o: OPT = -Os
rt_fast := merges trie lora weights packed random checksum sample stepper
$(patsubst %,$(BUILD)/runtime/%.o,$(rt_fast)): OPT = -O2
$(BUILD)/runtime/%.o: CFLAGS += -ffunction-sections -fdata-sections -fno-plt -fno-asynchronous-unwind-tables
# Tables of Unicode, in a tenth of the library's size.
$(BUILD)/gen/unicode: runtime/gen/unicode.c
	@mkdir -p $(@D); $(CC) $(CFLAGS) $< -o $@ $(LDFLAGS) -lutf8proc
$(BUILD)/runtime/unicode.inc: $(BUILD)/gen/unicode
	@mkdir -p $(@D); $< > $@
$(BUILD)/runtime/unicode.o: $(BUILD)/runtime/unicode.inc
$(BUILD)/runtime/explain_html.o: runtime/explain_page.html
# One archive is all that a program needs: jansson and PCRE2 are inside, without tables for unwinding, which nothing in a program does.
# $(call archive,PREFIX of binutils,LIBRARY..): $@ of the objects, by way of $@.parts
archive = rm -rf $@ $@.parts; mkdir -p $@.parts && cd $@.parts && for l in $(2); do $(1)ar x $$l || exit 1; done && \
	for o in *.o; do $(1)objcopy -R .eh_frame -R .rela.eh_frame $$o || exit 1; done && cd $(CURDIR) && $(1)ar rcs $@ $^ $@.parts/*.o && rm -r $@.parts
$(BUILD)/libsinter_rt.a: $(rt_obj)
	@$(call archive,,$(foreach l,jansson pcre2-8,$(shell $(CC) -print-file-name=lib$(l).a)))

# The same for programs that run on AArch64: `make aarch64`, by Debian's cross compiler.
arm := $(BUILD)/aarch64
arm_cc := aarch64-linux-gnu-gcc
arm_obj := $(patsubst runtime/%.c,$(arm)/runtime/%.o,$(wildcard runtime/*.c))
.PHONY: aarch64
aarch64: $(BUILD)/libsinter_rt-aarch64.a
$(arm)/libraries/done: tests/foreign.sh
	@$< arm64 $(@D) libjansson-dev libpcre2-dev && touch $@
$(arm)/runtime/unicode.o: $(BUILD)/runtime/unicode.inc
$(arm)/runtime/explain_html.o: runtime/explain_page.html
$(arm)/%.o: %.c $(arm)/libraries/done
	@mkdir -p $(@D); echo "  cc $< (aarch64)"
	@$(arm_cc) -std=gnu11 -D_GNU_SOURCE -O2 $(WARN) -I. -I$(BUILD) -I$(arm)/libraries/usr/include -ffunction-sections -fdata-sections -MMD -MP -c $< -o $@
$(BUILD)/libsinter_rt-aarch64.a: $(arm_obj)
	@$(call archive,aarch64-linux-gnu-,$(foreach l,jansson pcre2-8,$(CURDIR)/$(arm)/libraries/usr/lib/aarch64-linux-gnu/lib$(l).a))
$(arm)/kernels: tests/foreign/kernels.c runtime/program.h runtime/rt.def
	@mkdir -p $(@D); echo "  cc $< (aarch64)"
	@$(arm_cc) -std=gnu11 -D_GNU_SOURCE -O2 $(WARN) -I. $< -o $@ -ldl -lm

# Unit tests: tests/unit/<room>_<what>.c links that room and the rooms below it; room `all` the whole compiler.
unit_src := $(wildcard tests/unit/*.c)
unit_bin := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(unit_src))
unit_libs_support := $(BUILD)/libsupport.a
unit_libs_ir := $(BUILD)/libir.a $(unit_libs_support)
unit_libs_frontend := $(BUILD)/libfrontend.a $(unit_libs_ir)
unit_libs_passes := $(BUILD)/libpasses.a $(unit_libs_ir)
unit_libs_backend := $(BUILD)/libbackend.a $(BUILD)/libpasses.a $(unit_libs_ir)
unit_libs_all := $(BUILD)/libfrontend.a $(unit_libs_backend)
unit_libs_runtime := $(BUILD)/libsinter_rt.a
unit_libs_convert := $(BUILD)/libconvert.a $(BUILD)/libsinter_rt.a $(unit_libs_support)
room_of = $(firstword $(subst _, ,$(notdir $(1))))
.SECONDEXPANSION:
$(BUILD)/unit/%: tests/unit/%.c $$(unit_libs_$$(call room_of,%))
	@mkdir -p $(@D); echo "  cc $<"
	@$(CC) $(CFLAGS) -DTEST_DIR='"tests"' -MMD -MP $< -o $@ $(LDFLAGS) $(unit_libs_$(call room_of,$*)) \
	  $(if $(filter backend all,$(call room_of,$*)),$(LLVM_LIBS)) -lcmocka -ljansson -lpcre2-8 $(if $(filter runtime_unicode,$*),-lutf8proc) -lm -lpthread

# Tests. `check` does everything on a fresh machine and ends in one line "N passed, N failed".
.PHONY: check check-aarch64 check-unit check-text check-errors check-e2e check-reference bless
check:
	@tests/check.sh $(BUILD)
check-unit: $(unit_bin)
	@tests/unit/run.sh $(unit_bin)
# The tests of kernels for AArch64 under an emulator (backend/emulate.c).
arm_tests := $(patsubst %,$(BUILD)/unit/%,all_models $(filter backend_%,$(notdir $(unit_bin))))
check-aarch64: $(arm_tests) $(arm)/kernels
	@SINTER_TEST_TARGET=aarch64 SINTER_EMULATOR="qemu-aarch64 -L /usr/aarch64-linux-gnu $(arm)/kernels" tests/unit/run.sh $(arm_tests)
check-text: $(BUILD)/sinter
	@tests/text/run.sh $(BUILD)/sinter
check-errors: $(BUILD)/sinter
	@tests/errors.sh $(BUILD)/sinter && tests/calls.sh $(BUILD)/sinter
# Ids and texts of 100,000 random strings a tokenizer against npm's @huggingface/tokenizers (which it installs in $(BUILD)), and how fast text is encoded.
.PHONY: check-tokenizers
check-tokenizers: $(BUILD)/tools/tokens $(BUILD)/sinter
	@tests/tokenizers/run.sh $(BUILD) $(or $(STRINGS),100000)
check-reference: all
	@tests/reference/run.sh $(BUILD)
check-e2e: all $(if $(shell command -v $(arm_cc)),aarch64) $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c))
	@tests/e2e/run.sh $(BUILD)
$(BUILD)/tools/%: tests/tools/%.c $(BUILD)/libsinter_rt.a
	@mkdir -p $(@D); echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP $< -o $@ $(LDFLAGS) $(BUILD)/libsinter_rt.a -lm -lpthread
# The page of `explain` in headless Chromium, which is 100 MB: installed by this target alone.
.PHONY: deps-browser check-browser
deps-browser:
	@command -v chromium chromium-browser google-chrome > /dev/null || tests/deps.sh chromium
check-browser: all
	@tests/browser/run.sh $(BUILD)
bless: $(BUILD)/sinter
	@tests/text/run.sh $(BUILD)/sinter --bless

.PHONY: asan tsan
asan:
	@UBSAN_OPTIONS=print_stacktrace=1 $(MAKE) -k BUILD=$(BUILD)/asan OPT="-O1 -g -DSN_DEBUG" SAN="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" tests-only
tsan:
	@TSAN_OPTIONS="suppressions=$(CURDIR)/tests/tsan.supp" $(MAKE) -k BUILD=$(BUILD)/tsan OPT="-O1 -g -DSN_DEBUG" SAN="-fsanitize=thread" tests-only
# Lines that the tests run, by gcov: `make cov` runs them all in a build of its own and prints a summary.
.PHONY: cov fmt fmt-check
cov:
	@find $(BUILD)/cov -name '*.gcda' -delete 2>/dev/null; $(MAKE) -k BUILD=$(BUILD)/cov OPT="-O0 -g" SAN="--coverage" tests-only; tests/cov.sh $(BUILD)/cov
# Layout of the sources: tests/style.sh says what is held to.
fmt: $(BUILD)/sinter
	@tests/style.sh $< --fix
fmt-check: $(BUILD)/sinter
	@tests/style.sh $<
.PHONY: tests-only
tests-only: all check-unit check-text check-errors check-e2e

# libFuzzer targets: `make fuzz` gives each FUZZ_SECONDS, `make fuzz-smoke` 20. Findings and corpus stay in $(BUILD)/fuzz.
.PHONY: fuzz fuzz-smoke fuzz-build
FUZZ_SECONDS ?= 1200
fuzz: fuzz-build
	@tests/fuzz/run.sh $(BUILD)/fuzz $(FUZZ_SECONDS)
fuzz-smoke: fuzz-build
	@tests/fuzz/run.sh $(BUILD)/fuzz 20
fuzz-build:
	@tests/deps.sh clang-19 libclang-rt-19-dev
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang-19 OPT="-O1 -g -DSN_DEBUG" WARN= \
	  SAN="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" \
	  $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))
$(BUILD)/model $(BUILD)/graph: $(BUILD)/%: tests/fuzz/%.c $(BUILD)/libfrontend.a $(BUILD)/libir.a $(BUILD)/libsupport.a
	@echo "  link $@"; $(CC) $(CFLAGS) -fsanitize=fuzzer -MMD -MP $< -o $@ $(BUILD)/libfrontend.a $(BUILD)/libir.a $(BUILD)/libsupport.a -ljansson -lm
fuzz_files := $(BUILD)/libconvert.a $(BUILD)/libsinter_rt.a $(BUILD)/libfrontend.a $(BUILD)/libir.a $(BUILD)/libsupport.a
$(BUILD)/safetensors $(BUILD)/gguf $(BUILD)/config: $(BUILD)/%: tests/fuzz/%.c $(fuzz_files)
	@echo "  link $@"; $(CC) $(CFLAGS) -fsanitize=fuzzer -MMD -MP $< -o $@ $(fuzz_files) -ljansson -lpcre2-8 -lm -lpthread
$(BUILD)/tokenizer: tests/fuzz/tokenizer.c $(BUILD)/libsinter_rt.a
	@echo "  link $@"; $(CC) $(CFLAGS) -fsanitize=fuzzer -MMD -MP $< -o $@ $(BUILD)/libsinter_rt.a -lm -lpthread

# What the build, the tests and the produced executables need, from Debian.
packages := gcc make flex bison llvm-19-dev libcmocka-dev libjansson-dev libpcre2-dev libutf8proc-dev
.PHONY: deps
deps:
	@tests/deps.sh $(packages)
.PHONY: deps-aarch64
deps-aarch64:
	@tests/deps.sh gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

.PHONY: demo docs docs-check
demo:
	@models/demo.sh $(BUILD)

# bench/README.md. LLMC and LLAMA: checkouts of llm.c and of llama.cpp (built); TEXT: a text to train on; PIECES: some of the bench; ARGS: its flags.
.PHONY: bench bench-quick bench-gemm bench-shapes bench-thin bench-attention bench-small
bench_tools := $(patsubst %,$(BUILD)/bench/%,gemm thin attention limits)
bench bench-quick: all $(bench_tools)
	@bench/run.py $(BUILD) $(PIECES) $(if $(filter %quick,$@),--quick) --llmc "$(LLMC)" --llama "$(LLAMA)" --text "$(TEXT)" $(ARGS)
bench-thin: $(BUILD)/bench/thin
	$<
	$< -d bf16
bench-gemm: $(BUILD)/bench/gemm
	$< -b
	$< -b -d bf16
bench-shapes: $(BUILD)/bench/shapes
	$< -b
	$< -b -d bf16
bench-attention: $(BUILD)/bench/attention
	$<
bench-small: $(BUILD)/bench/small all
	$<
	bench/small.sh $(BUILD)/sinter
$(BUILD)/bench/small: bench/small.c $(BUILD)/libsinter_rt.a
	@mkdir -p $(@D); echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP $< -o $@ $(LDFLAGS) $(BUILD)/libsinter_rt.a -lm -lpthread
$(BUILD)/bench/%: bench/%.c $(libs)
	@mkdir -p $(@D); echo "  cc $<"
	@$(CC) $(CFLAGS) $(LLVM_CFLAGS) -MMD -MP $< -o $@ $(LDFLAGS) $(link_libs) $(LLVM_LIBS) -ljansson -lm -lpthread
docs: $(BUILD)/sinter
	$< docs ops > docs/ops.md
	$< docs passes > docs/passes.md
docs-check: $(BUILD)/sinter
	@for p in ops passes; do $< docs $$p | diff -u docs/$$p.md - || exit 1; done

# The manual page and the shells' completions, which sinter prints itself.
made_pages := man/man1/sinter.1 bash-completion/completions/sinter zsh/site-functions/_sinter fish/vendor_completions.d/sinter.fish
made_by.sinter.1 := man
made_by.sinter := completions bash
made_by._sinter := completions zsh
made_by.sinter.fish := completions fish
.PHONY: install uninstall
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/sinter $(DESTDIR)$(PREFIX)/share/sinter/models
	install -m 755 $(BUILD)/sinter $(DESTDIR)$(PREFIX)/bin/sinter
	install -m 644 $(BUILD)/libsinter_rt.a $(DESTDIR)$(PREFIX)/lib/sinter/
	for l in $(wildcard $(BUILD)/libsinter_rt-*.a); do install -m 644 $$l $(DESTDIR)$(PREFIX)/lib/sinter/; done
	install -m 644 models/*.sinter $(DESTDIR)$(PREFIX)/share/sinter/models/
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,$(dir $(made_pages)))
	$(foreach p,$(made_pages),$(BUILD)/sinter $(made_by.$(notdir $(p))) > $(DESTDIR)$(PREFIX)/share/$(p) &&) chmod 644 $(addprefix $(DESTDIR)$(PREFIX)/share/,$(made_pages))
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/sinter $(addprefix $(DESTDIR)$(PREFIX)/share/,$(made_pages))
	rm -rf $(DESTDIR)$(PREFIX)/lib/sinter $(DESTDIR)$(PREFIX)/share/sinter

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(filter-out %.a.d,$(wildcard $(BUILD)/*/*.d $(BUILD)/aarch64/*/*.d))
