# Lockstep. `make help` lists what can be made.
#
#   make SAN=address|undefined|thread …   a sanitized build, in build/SAN
#   make MPICC=/path/to/mpicc …           another Open MPI for liblockstep and the examples
#   make CUDA_HOME=/path/to/cuda …        another CUDA; CUDA_HOME= builds without
#   make V=1 …                            print the commands

SHELL  := /bin/bash
PREFIX ?= /usr/local
CC     ?= cc
MPICC  ?= mpicc
PYTHON ?= python3
B      := build$(if $(SAN),/$(SAN))
O      := $(B)/obj

VERSION := $(shell sed -n 's/^.define LOCKSTEP_VERSION "\(.*\)"/\1/p' include/lockstep/lockstep.h)
ifneq ($(filter-out address undefined thread,$(SAN)),)
$(error SAN=$(SAN): want address, undefined or thread)
endif

WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 -Wvla -Wundef
SANFLAGS:= $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
CFLAGS  ?= -O2 -g
BASE    := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(WARN) -I. -Iinclude
LSFLAGS := $(BASE) -fPIC -fvisibility=hidden -MMD -MP $(SANFLAGS)
Q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$@')
,       := ,

# Asked lazily: `make quickstart` may install them first.
MPI_CFLAGS = $(shell $(MPICC) --showme:compile 2>/dev/null)
MPI_LIBS   = $(shell $(MPICC) --showme:link 2>/dev/null)
# examples/gpt: a BLAS with cblas.h.
BLAS_CFLAGS ?=
BLAS_LIBS   ?= -lopenblas

# CUDA to build with: the compiler and headers, of version 12 or newer; a driver is asked for at run time only. Without it all else is built.
CUDA_HOME ?= $(firstword $(patsubst %/bin/nvcc,%,$(wildcard /usr/local/cuda/bin/nvcc build/cuda/bin/nvcc) $(shell command -v nvcc)))
CUDA_VERSION := $(shell sed -n 's/^.define CUDA_VERSION //p' $(CUDA_HOME)/include/cuda.h 2>/dev/null)
NVCC      := $(if $(shell [ 0$(CUDA_VERSION) -ge 12000 ] && echo new),$(wildcard $(CUDA_HOME)/bin/nvcc))
NCCL_HOME ?= $(firstword $(patsubst %/include/nccl.h,%,$(wildcard $(addsuffix /include/nccl.h,$(CUDA_HOME) /usr build/cuda))))
NCCL_H    := $(if $(NVCC),$(wildcard $(NCCL_HOME)/include/nccl.h))
CUDA_CFLAGS := $(if $(NVCC),$(addprefix -isystem ,$(sort $(filter-out /usr/include,$(CUDA_HOME)/include $(NCCL_H:/nccl.h=)))))
NVCCFLAGS := -std=c++17 -O3 -I. -gencode arch=compute_80,code=sm_80 -gencode 'arch=compute_90,code=[sm_90,compute_90]' --Werror all-warnings
CORE_LIBS  = -lhwloc -lyaml -lcjson -lexpat -lm

objects  = $(patsubst %.c,$(O)/%.o,$(wildcard $(1)))
CORE    := $(call objects,core/*.c)
LAUNCH  := $(call objects,launcher/*.c)
OPER    := $(call objects,operator/*.c)
NO_CUDA := $(if $(NVCC),%_none.o,%/driver_cuda.o %/api_cuda.o)
NO_NCCL := $(if $(NCCL_H),%/without_nccl.o,$(addprefix %/,api_nccl.o backend_nccl.o ops_nccl.o wait_nccl.o))
WORK    := $(filter-out $(NO_CUDA) $(NO_NCCL),$(call objects,worker/*.c collectives/*.c))
UNIT    := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c)) $(B)/tests/test_fibre
TORTURE := $(patsubst tests/torture/%.c,$(B)/tests/%,$(wildcard tests/torture/torture_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
KILL    := $(B)/tests/killat.so $(B)/tests/killsave
BENCH   := $(patsubst bench/%_mpi.c,$(B)/bench/%,$(wildcard bench/*_mpi.c))
EXAMPLES := $(B)/examples/allreduce $(B)/examples/digits $(B)/examples/gpt $(B)/examples/hello

.PHONY: all parts
all: parts $(B)/lockstep $(B)/liblockstep.so $(B)/liblockstep.a $(EXAMPLES) $(B)/bench/ckpt $(B)/bench/coll_rank $(B)/bench/coll_peer $(B)/bench/coll_peer_nccl $(B)/bench/net_rank

parts_found = CUDA: $(if $(NVCC),$(CUDA_HOME) ($(CUDA_VERSION)),$(if $(CUDA_VERSION),$(CUDA_HOME) is too old ($(CUDA_VERSION)),not found$(if $(CUDA_HOME), in $(CUDA_HOME)))) · \
	NCCL: $(if $(NCCL_H),$(NCCL_HOME),$(if $(NVCC),not found,needs CUDA))$(if $(NCCL_H),, · deploy/setup-cuda.sh fetches what is missing)
parts:
	@echo '$(parts_found)'

# Changes when they do. What is in every build hangs on it, so that all is linked anew.
.PHONY: always
$(O)/parts: always
	@mkdir -p $(@D)
	@echo '$(parts_found)' | cmp -s - $@ || echo '$(parts_found)' >$@
$(O)/collectives/pack_cuda.o $(O)/collectives/kernels.fatbin $(O)/examples/gpt/gpt.o: $(O)/parts

.PHONY: help
help:
	@echo "make quickstart   install what is missing, build, train the digits example, open the report"
	@echo "make              build the command, the library and the examples, in $(B)/"
	@echo "make test         unit tests and real runs on this machine (a few minutes)"
	@echo "make e2e          several hosts with real ssh, both Open MPIs, PyTorch, S3, Kubernetes, many kills (longer)"
	@echo "make torture      fail each allocation and each system call once"
	@echo "make gpu          on a machine with a GPU: what no test without one can show (6 minutes)"
	@echo "make model        check the protocol of checkpoints in every interleaving (minutes)"
	@echo "make fuzz         FUZZ_SECONDS for each parser (needs clang)"
	@echo "make bench        start-up and step overhead against the peers, in one run"
	@echo "make bench-peers  the collectives against other MPI libraries, gloo and iperf3; sets them up in $(B)/ (20 minutes)"
	@echo "make install      into PREFIX ($(PREFIX)), below DESTDIR"
	@echo "make check        what to run before a push: build, test, style of includes, docs"
	@echo "make clean        remove build/"
	@echo "SAN=address|undefined|thread makes any of these a sanitized build."

# --- what must be on the machine -----------------------------------------------------------------------------------------

.PHONY: deps deps-test
deps:
	@deploy/install-deps.sh build
deps-test:
	@deploy/install-deps.sh build test

# --- objects, libraries, the command ---------------------------------------------------------------------------------------

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LSFLAGS) $(if $(findstring _mpi,$<),$(MPI_CFLAGS)) \
		$(if $(findstring _cuda,$<)$(findstring _nccl,$<),$(CUDA_CFLAGS)) -c $< -o $@

# Our kernels for the driver to load, inside driver_cuda.o: machine code for A100 and H100, and PTX for what comes after them.
KERNELS := $(O)/collectives/kernels.fatbin
$(KERNELS): collectives/kernels.cu
	@mkdir -p $(@D)
	$(call say,NVCC)
	$(Q)$(NVCC) $(NVCCFLAGS) -MD -MF $(@:.fatbin=.d) -fatbin $< -o $@
$(O)/collectives/driver_cuda.o: $(KERNELS)
$(O)/collectives/driver_cuda.o: LSFLAGS += -DLS_CUDA_KERNELS='"$(KERNELS)"'

$(B)/core.a: $(CORE)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

$(B)/lockstep: $(LAUNCH) $(OPER) $(B)/core.a
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(CORE_LIBS) $(LDFLAGS)

$(B)/liblockstep.a: $(WORK) $(CORE)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

$(B)/liblockstep.so: $(WORK) $(B)/core.a
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) -shared -Wl,-soname,liblockstep.so.0 $^ -o $@ -Wl,--as-needed $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)
	$(Q)ln -sf liblockstep.so $(B)/liblockstep.so.0

# --- examples: each folder of examples/ with C files is one program ----------------------------------------------------------

define example
$(B)/examples/$(1): $(patsubst %.c,$(O)/%.o,$(wildcard examples/$(1)/*.c)) $(B)/liblockstep.a
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$(Q)$$(CC) $$(CFLAGS) $$(SANFLAGS) $$^ -o $$@ -Wl,--as-needed $$(EXAMPLE_LIBS) $$(MPI_LIBS) $$(CORE_LIBS) $$(LDFLAGS)
endef
$(foreach e,$(notdir $(EXAMPLES)),$(eval $(call example,$(e))))

$(B)/examples/gpt: EXAMPLE_LIBS = $(BLAS_LIBS)
$(O)/examples/gpt/%.o: LSFLAGS += $(BLAS_CFLAGS)
# Loops for vectors: see the file.
$(O)/examples/gpt/cpu_rows.o: LSFLAGS += -O3 -fopenmp-simd -fno-math-errno -fno-trapping-math -ffinite-math-only -fno-signed-zeros

# examples/gpt on GPUs: CUDA's runtime inside the program, cuBLASLt opened at run time; the toolkit's own is found without LD_LIBRARY_PATH.
CUBLAS_MAJOR := $(if $(NVCC),$(shell sed -n 's/^.define CUBLAS_VER_MAJOR //p' $(CUDA_HOME)/include/cublas_api.h 2>/dev/null))
GPT_CUDA_LIBS = -L$(CUDA_HOME)/lib64 -lcudart_static -lstdc++ -ldl -lrt -lpthread -Wl,-rpath,$(abspath $(CUDA_HOME)/lib64)
GPT_CUDA := $(if $(CUBLAS_MAJOR),$(patsubst %.cu,$(O)/nvcc/%.o,$(wildcard examples/gpt/*.cu)))
$(O)/nvcc/%.o: %.cu
	@mkdir -p $(@D)
	$(call say,NVCC)
	$(Q)$(NVCC) $(NVCCFLAGS) -Xptxas -warn-spills -MD -MF $(@:.o=.d) -c $< -o $@
ifneq ($(GPT_CUDA),)
$(B)/examples/gpt: $(GPT_CUDA)
$(B)/examples/gpt: EXAMPLE_LIBS += $(GPT_CUDA_LIBS)
$(O)/examples/gpt/gpt.o: LSFLAGS += -DGPT_CUDA
all: $(B)/bench/gpt_step
endif

# A fresh run each time: the build folder is ours to empty. The second command of the README does the same by hand.
.PHONY: quickstart
quickstart: deps
	@$(MAKE) --no-print-directory all
	@rm -rf $(B)/quickstart
	@$(B)/lockstep run -f examples/digits/digits.yaml --dir $(B)/quickstart
	@echo
	@echo "Next:"
	@echo "  xdg-open $(B)/quickstart/report.html           the run's loss curve and step times"
	@echo "  $(B)/lockstep ckpt ls $(B)/quickstart/checkpoints   its checkpoints"
	@echo "  $(B)/lockstep run -f examples/digits/digits.yaml --dry-run    what exactly would be started"
	@echo "  $(B)/lockstep topo -np 2                        where ranks go on this machine, and why"
	@echo "  $(B)/lockstep explain spec                      the fields of a TrainingJob"
	@echo "  $(B)/lockstep run -np 2 -- ./your-program       anything else; as with mpirun"

# --- tests -------------------------------------------------------------------------------------------------------------------

# What the sanitizers must not report: other people's libraries. MPI ranks leak from modules that are unloaded by then and have no
# name: leaks are looked for in units, torture and, by tests/lib.sh, in the launcher.
SANENV := ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 \
	TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp:ignore_noninstrumented_modules=1
RUN    := B=$(B) $(SANENV) tests/runner

# Unit tests see the launcher's parts and liblockstep's.
$(B)/tests/test_%: $(O)/tests/unit/test_%.o $(filter-out %/main.o,$(LAUNCH)) $(OPER) $(WORK) $(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -lcunit $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

$(B)/tests/test_bench_coll: $(O)/bench/coll_data.o

$(B)/tests/test_gpt: $(filter-out %/gpt.o,$(call objects,examples/gpt/*.c))
$(B)/tests/test_gpt: MPI_LIBS += $(BLAS_LIBS)

$(B)/tests/rows $(B)/tests/gpu_train: $(B)/tests/%: $(O)/tests/run/%.o $(B)/liblockstep.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

# CUDA's kernels as C++ on the CPU, a block's threads as fibres; and with them what tests take for NVIDIA's driver.
FIBRE := -std=c++17 -O1 -g -fPIC -fvisibility=hidden -MMD -MP $(filter-out -Wstrict-prototypes -Wmissing-prototypes,$(WARN)) \
	-Wno-unknown-pragmas $(SANFLAGS) -I. -include tests/fake/fibre_cuda.h
$(O)/fibre/%.o: %.cu
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) $(FIBRE) -x c++ -c $< -o $@
$(O)/%.o: %.cc
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) $(FIBRE) -c $< -o $@
$(B)/tests/libcuda.so.1: $(O)/tests/fake/cuda.o $(O)/tests/fake/fibre_cuda.o $(O)/fibre/collectives/kernels.o
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) $(SANFLAGS) -shared -Wl,-soname,libcuda.so.1 $^ -o $@ -lpthread
$(B)/tests/test_copy $(B)/tests/test_cuda: | $(B)/tests/libcuda.so.1

# And what they take for NCCL. Without its header there is no backend to test.
$(B)/tests/libnccl.so.2: $(O)/tests/fake/lib_nccl.o $(B)/tests/libcuda.so.1
	$(call say,LINK)
	$(Q)$(CC) $(SANFLAGS) -shared -Wl,-soname,libnccl.so.2 $^ -o $@ -lpthread
$(O)/tests/fake/lib_nccl.o: LSFLAGS := $(filter-out -fvisibility=hidden -Wmissing-prototypes,$(LSFLAGS))
$(B)/tests/test_nccl $(B)/tests/test_nccl_wrong $(B)/tests/gpu_train: | $(if $(NCCL_H),$(B)/tests/libnccl.so.2)

$(B)/tests/test_fibre: $(O)/fibre/tests/unit/test_fibre.o $(O)/tests/fake/fibre_cuda.o
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) $(SANFLAGS) $^ -o $@ -lcunit -lpthread

# Without MPI: it also runs on a GPU (tests/gpu.sh).
$(B)/tests/test_cuda: $(O)/tests/unit/test_cuda.o $(filter $(addprefix $(O)/collectives/,api_cuda.o driver_cuda.o api_cuda_none.o pack_cuda.o),$(WORK)) \
		$(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed -lcunit $(CORE_LIBS) $(LDFLAGS)

# The GPT's kernels and its CUDA device on the CPU: NVIDIA's header of cuBLASLt, all else in its place.
$(O)/fibre/examples/gpt/%.o $(O)/tests/unit/test_gpt_kernels.o $(O)/tests/unit/test_gpt_cuda.o: FIBRE += -Itests/fake/cudart
$(O)/host/%.o: %.cu
	@mkdir -p $(@D)
	$(call say,CXX)
	$(Q)$(CXX) $(filter-out -include tests/fake/fibre_cuda.h,$(FIBRE)) $(CUDA_CFLAGS) -x c++ -c $< -o $@
$(B)/tests/libcublasLt.so.%: tests/fake/cublaslt_cuda.cc
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) $(filter-out -include tests/fake/fibre_cuda.h -MMD -MP -fvisibility=hidden,$(FIBRE)) $(CUDA_CFLAGS) -shared -Wl,-soname,$(@F) $< -o $@
UNIT += $(B)/tests/test_gpt_kernels $(if $(CUBLAS_MAJOR),$(B)/tests/test_gpt_cuda)
# Old dtags: under a sanitizer it is the sanitizer's library that opens others.
RPATH_HERE = -Wl,--disable-new-dtags -Wl,-rpath,$(abspath $(@D))
FAKE_CUBLASLT := $(B)/tests/libcublasLt.so.$(CUBLAS_MAJOR)
FIBRE_KERNELS := $(addprefix $(O)/,fibre/examples/gpt/kernels_cuda.o fibre/examples/gpt/attention_cuda.o tests/fake/fibre_cuda.o)
FIBRE_GPT := $(FIBRE_KERNELS) $(O)/fibre/examples/gpt/device_cuda.o $(O)/host/examples/gpt/blas_cuda.o
$(B)/tests/test_gpt_kernels: $(O)/tests/unit/test_gpt_kernels.o $(FIBRE_KERNELS)
$(B)/tests/test_gpt_cuda: $(O)/tests/unit/test_gpt_cuda.o $(FIBRE_GPT) $(filter-out %/gpt.o,$(call objects,examples/gpt/*.c)) | $(FAKE_CUBLASLT)
$(B)/tests/test_gpt_kernels $(B)/tests/test_gpt_cuda:
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) $(SANFLAGS) $^ -o $@ $(RPATH_HERE) -lcunit $(BLAS_LIBS) -ldl $(LDFLAGS)

$(B)/tests/coll_net: $(O)/tests/e2e/coll_net.o $(B)/liblockstep.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

$(B)/tests/store_tool: $(O)/tests/e2e/store_tool.o $(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ $(CORE_LIBS) $(LDFLAGS)

# What test_gpus, test_place and tests/run/gpus.sh take for NVIDIA's management library.
$(B)/tests/libnvidia-ml.so.1: tests/fake/nvml.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(WARN) -Wno-missing-prototypes -fPIC -shared -Wl$(,)-soname$(,)libnvidia-ml.so.1 $< -o $@
$(B)/tests/test_gpus $(B)/tests/test_place: | $(B)/tests/libnvidia-ml.so.1

# tests/torture/fault.c wraps these; a name that is missing here is simply not tortured. libyaml is linked statically so that its
# allocations fail, too.
WRAPPED := malloc calloc realloc strdup strndup open64 close read pread64 write pwrite64 preadv64 pwritev64 mkostemp64 fsync fchmod \
	fstat64 stat64 fstatat64 rename renameat2 link mkdir unlink unlinkat rmdir opendir readdir64 \
	aligned_alloc socket sendmsg recvmsg memfd_create ftruncate64 mmap64 madvise pthread_create

$(B)/tests/torture_%: $(O)/tests/torture/torture_%.o $(O)/tests/torture/fault.o $(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ $(addprefix -Wl$(,)--wrap=,$(WRAPPED)) $(subst -lyaml,-l:libyaml.a,$(CORE_LIBS)) $(LDFLAGS)

$(B)/tests/torture_kube: $(O)/tests/torture/torture_kube.o $(O)/tests/torture/fault.o $(OPER) $(filter-out %/main.o,$(LAUNCH)) $(WORK) $(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ $(addprefix -Wl$(,)--wrap=,$(WRAPPED)) $(MPI_LIBS) $(subst -lyaml,-l:libyaml.a,$(CORE_LIBS)) $(LDFLAGS)

$(B)/tests/torture_rank $(B)/tests/torture_coll: $(B)/tests/torture_%: $(O)/tests/torture/torture_%.o $(O)/tests/torture/fault.o $(WORK) $(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ $(addprefix -Wl$(,)--wrap=,$(WRAPPED)) $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

# Preloaded into a program that may be sanitized: itself it is not.
$(B)/tests/killat.so: tests/kill/killat.c tests/kill/killat.h
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(BASE) -fPIC -shared $< -o $@ -ldl

$(B)/tests/killsave: $(O)/tests/kill/killsave.o $(B)/liblockstep.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

.PHONY: test
test: deps-test
	@tests/setup-python.sh
	@tests/setup-ompi5.sh
	@$(MAKE) --no-print-directory all $(UNIT) $(B)/tests/rows $(B)/tests/gpu_train $(B)/tests/libnvidia-ml.so.1 $(B)/tests/libcuda.so.1
	@$(RUN) $(UNIT) tests/run/*.sh

# Where there is no GPU it says so, and ends with 77.
.PHONY: gpu
gpu: deps
	@$(MAKE) --no-print-directory all $(B)/tests/test_cuda $(B)/tests/gpu_train
	@B=$(B) tests/gpu.sh

.PHONY: e2e
e2e: deps-test
	@deploy/install-deps.sh python image kube
	@tests/setup-python.sh
	@tests/setup-ompi5.sh
	@tests/setup-s3.sh
	@tests/setup-kube.sh
	@$(MAKE) --no-print-directory all $(KILL) $(B)/tests/coll_net $(B)/tests/store_tool $(if $(CUBLAS_MAJOR),$(B)/tests/gpt_step)
	@$(RUN) tests/e2e/*.sh

# On /dev/shm where there is one: thousands of fsyncs.
.PHONY: torture
torture: deps-test
	@$(MAKE) --no-print-directory $(TORTURE)
	@TMPDIR=$$([ -w /dev/shm ] && echo /dev/shm || echo /tmp) $(RUN) $(TORTURE)

# Every interleaving of the checkpoints' protocol.
.PHONY: model
model:
	@deploy/install-deps.sh build model
	@tests/model/run.sh $(B)/model

FUZZ_SECONDS ?= 120

# What a fuzzer needs beside core/.
FUZZ_kube := operator/kube_read.c operator/kube_config.c operator/kube_exec.c
FUZZ_objects := $(addprefix operator/,objects.c status.c report.c quantity.c cluster.c cluster_pods.c words.c fit.c gang.c gang_why.c \
	plan.c plan_end.c plan_group.c plan_order.c plan_pods.c plan_status.c pods.c pods_launcher.c pods_worker.c) \
	launcher/pod.c

$(B)/fuzz/%: tests/fuzz/%.c $(wildcard core/*.c core/*.h operator/*.c operator/*.h)
	@mkdir -p $(@D)
	$(call say,FUZZ)
	$(Q)clang $(BASE) -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Wno-format-nonliteral \
		$< $(FUZZ_$(*:fuzz_%=%)) $(wildcard core/*.c) -o $@ $(CORE_LIBS)

.PHONY: fuzz
fuzz: $(FUZZERS)
	$(Q)for f in $(FUZZERS); do n=$${f##*/fuzz_}; mkdir -p $$f.corpus; \
		$$f $$f.corpus $$([ $$n = manifest ] && echo tests/data/manifests) $$([ -f tests/fuzz/$$n.dict ] && echo -dict=tests/fuzz/$$n.dict) \
			-max_total_time=$(FUZZ_SECONDS) -max_len=65536 -verbosity=0 || exit 1; done

.PHONY: check
check: test
	@$(RUN) tests/style.sh

# --- benchmarks ----------------------------------------------------------------------------------------------------------------

$(B)/bench/%: $(O)/bench/%_mpi.o $(B)/liblockstep.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

# Rank programs of `lockstep bench`: one part is the same for all. The peer has nothing of ours.
COLL := $(addprefix $(O)/bench/coll_,rank.o data.o tensors.o)
$(B)/bench/coll_rank: $(O)/bench/coll_rank_mpi.o $(COLL) $(B)/liblockstep.a
$(B)/bench/coll_peer: $(O)/bench/coll_peer_mpi.o $(COLL)
$(B)/bench/coll_peer_nccl: $(O)/bench/coll_peer_nccl.o $(COLL) $(B)/liblockstep.a
$(B)/bench/coll_floor: $(O)/bench/coll_floor_mpi.o $(COLL)
$(B)/bench/coll_rank $(B)/bench/coll_peer $(B)/bench/coll_peer_nccl $(B)/bench/coll_floor:
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

# Of bench/gpt_gpu.sh; and, for a test of it, with kernels on the CPU.
$(O)/nvcc/bench/%.o: NVCCFLAGS += -Iinclude
$(O)/fibre/bench/%.o: FIBRE += -Iinclude -Itests/fake/cudart
$(B)/bench/gpt_step: $(O)/nvcc/bench/gpt_step_cuda.o $(GPT_CUDA) $(O)/examples/gpt/tensors.o $(B)/liblockstep.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(GPT_CUDA_LIBS) $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)
$(B)/tests/gpt_step: $(O)/fibre/bench/gpt_step_cuda.o $(FIBRE_GPT) $(O)/examples/gpt/tensors.o $(B)/liblockstep.a | $(FAKE_CUBLASLT)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CXX) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(RPATH_HERE) -ldl $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

$(B)/bench/net_rank: $(addprefix $(O)/bench/net_,rank_mpi.o mpi_world.o mpi_pairs.o local.o gpu.o) $(B)/liblockstep.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(MPI_LIBS) $(CORE_LIBS) $(LDFLAGS)

# Without MPI.
$(B)/bench/s3_copy: $(O)/bench/s3_copy.o $(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(CORE_LIBS) $(LDFLAGS)

$(B)/bench/place: $(O)/bench/place.o $(OPER) $(filter-out %/main.o,$(LAUNCH)) $(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(CORE_LIBS) $(LDFLAGS)

$(B)/bench/reduce: $(O)/bench/reduce.o $(patsubst %.c,$(O)/%.o,$(wildcard collectives/reduce*.c)) $(B)/core.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(SANFLAGS) $^ -o $@ -Wl,--as-needed $(CORE_LIBS) $(LDFLAGS)

.PHONY: bench
bench: deps
	@$(MAKE) --no-print-directory all $(BENCH) $(B)/bench/s3_copy $(B)/bench/place
	@bench/run.sh $(B)

.PHONY: bench-peers
bench-peers: deps
	@$(MAKE) --no-print-directory all $(B)/bench/coll_floor
	@B=$(B) bench/peers.sh

# --- installation --------------------------------------------------------------------------------------------------------------

.PHONY: install
install: all
	install -d $(DESTDIR)$(PREFIX)/{bin,lib,libexec/lockstep,include/lockstep,share/man/man1,share/bash-completion/completions,share/zsh/site-functions}
	install -m 755 $(B)/lockstep $(DESTDIR)$(PREFIX)/bin/
	for p in $(B)/bench/{ckpt,coll_rank,coll_peer,coll_peer_nccl,net_rank} bench/coll_torch.py bench/coll_nccl_tests.py; do install -m 755 $$p $(DESTDIR)$(PREFIX)/libexec/lockstep/bench-$${p##*/}; done
	install -d $(DESTDIR)$(PREFIX)/libexec/lockstep/bench-topologies
	install -m 644 bench/topologies/*.yaml $(DESTDIR)$(PREFIX)/libexec/lockstep/bench-topologies/
	install -m 644 bench/published.yaml $(DESTDIR)$(PREFIX)/libexec/lockstep/bench-published.yaml
	install -m 755 $(B)/liblockstep.so $(DESTDIR)$(PREFIX)/lib/liblockstep.so.$(VERSION)
	ln -sf liblockstep.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/liblockstep.so.0
	ln -sf liblockstep.so.0 $(DESTDIR)$(PREFIX)/lib/liblockstep.so
	install -m 644 $(B)/liblockstep.a $(DESTDIR)$(PREFIX)/lib/
	install -m 644 include/lockstep/lockstep.h $(DESTDIR)$(PREFIX)/include/lockstep/
	install -m 644 deploy/lockstep.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 deploy/completion/lockstep.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lockstep
	install -m 644 deploy/completion/_lockstep $(DESTDIR)$(PREFIX)/share/zsh/site-functions/

.PHONY: clean
clean:
	rm -rf build

-include $(shell find $(O) -name '*.d' 2>/dev/null)
.SECONDARY:
