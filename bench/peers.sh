#!/bin/bash
# peers.sh [SECTION…] -- the collectives against the peers, side by side: sets the peers up, measures, and writes build/bench-peers/RESULTS.md.
#
#     latency          4 B to 1 KiB: every library as it comes
#     sizes            4 KiB to 256 MiB: as they come, and tuned; the memory floor
#     tensors          all gradients of ResNet-50 and GPT-2, one by one and in buckets of 25 MiB
#     dtypes           bf16 against f32
#     oversubscribed   4 ranks on 2 cores
#     net              between two network namespaces, bare and limited to 1 Gbit/s (root only)
#     malloc           what `lockstep run`'s malloc settings do to a plain MPI program
#     gpt              a training step of examples/gpt against PyTorch's DDP
#
# Without a section: all. PEERS_ROUNDS=N: each is measured N times (5). B: the build folder (build). A section's results replace that section's
# on the page, which names the commands. What runs beside it spoils the figures: the machine should do nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

SECTIONS='latency sizes tensors dtypes oversubscribed net malloc gpt'
ROUNDS=${PEERS_ROUNDS:-5}
B=$(realpath "${B:-build}")
P=$PWD/build/bench-peers
OUT=$P/results
PYTHON=$PWD/build/venv-torch/bin/python
failed=0

# For tuned peers: glibc keeps what is freed, on huge pages, instead of mapping and clearing it again in each call.
KEEP='env GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:glibc.malloc.hugetlb=1'

ring() { # SEGMENT: Open MPI's segmented ring
	echo "--mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm 5 --mca coll_tuned_allreduce_algorithm_segmentsize $1"
}

# --- contenders: fill `args` -------------------------------------------------------------------------------------------------------

peer() { # NAME PEER [ENVIRONMENT [MPIRUN-OPTIONS]]: nothing where there is no such peer; the page says why
	[ -x "$P/$2/coll_peer" ] || return 0
	args+=(--contender "$1=exec ${3:+$3 }$P/$2/mpirun -np \$LOCKSTEP_BENCH_NP ${4:+$4 }$P/$2/coll_peer")
}

defaults() {
	local p
	for p in ompi4 ompi5 mpich4 mpich5 impi; do peer $p $p; done
}

floor() { args+=(--contender "floor=exec $P/ompi4/mpirun -np \$LOCKSTEP_BENCH_NP $B/bench/coll_floor"); }

tuned_all_sizes() {
	peer ompi4-ring64k ompi4 "$KEEP" "$(ring 65536)"
	peer ompi4-ring256k ompi4 "$KEEP" "$(ring 262144)"
	peer mpich5-p2p mpich5 "$KEEP MPIR_CVAR_ALLREDUCE_POSIX_INTRA_ALGORITHM=mpir"
	peer impi-keep impi "$KEEP"
	peer impi-ring impi "$KEEP I_MPI_ADJUST_ALLREDUCE=8"
}

tuned_to_1m() {
	peer ompi4-keep ompi4 "$KEEP"
	peer ompi5-keep ompi5 "$KEEP"
	peer mpich4-keep mpich4 "$KEEP"
	peer mpich5-gather1m mpich5 "$KEEP MPIR_CVAR_ALLREDUCE_POSIX_INTRA_ALGORITHM=release_gather \
MPIR_CVAR_BCAST_INTRANODE_BUFFER_TOTAL_SIZE=1048576 MPIR_CVAR_REDUCE_INTRANODE_BUFFER_TOTAL_SIZE=1048576"
}

# Not all of the others: each keeps up to 1 GiB.
tuned_from_4m() {
	peer ompi4-ring1m ompi4 "$KEEP" "$(ring 1048576)"
	peer ompi5-ring256k ompi5 "$KEEP" "$(ring 262144)"
}

# --- measuring ---------------------------------------------------------------------------------------------------------------------

bench() { # NAME OPTIONS…: with the contenders in `args` and the gradients of $TENSORS; OUT/NAME.json, and the command beside it
	local name=$1 begin=$SECONDS
	shift
	echo "${TENSORS:+LOCKSTEP_BENCH_TENSORS=$TENSORS }lockstep bench allreduce $*" >"$OUT/$name.cmd"
	LOCKSTEP_BENCH_TENSORS=${TENSORS-} "$B/lockstep" bench allreduce "$@" "${args[@]}" --json >"$OUT/$name.json" || {
		echo "bench/peers.sh: $name: not all went well, see above" >&2
		failed=1
	}
	echo "$name: $((SECONDS - begin)) s" >&2
	args=()
}

compare() { # NAME CONTENDERS OPTIONS…
	bench "$1" --compare "$2" --python "$PYTHON" --rounds "$ROUNDS" "${@:3}"
}

section_latency() {
	defaults
	compare latency shm,shm/user -np 2 -b 4 -e 1K -f 4
}

section_sizes() {
	defaults
	floor
	tuned_all_sizes
	tuned_to_1m
	compare sizes-medium shm,shm/user,torch -np 2 -b 4K -e 1M -f 4
	defaults
	floor
	tuned_all_sizes
	tuned_from_4m
	compare sizes-large shm,shm/user,torch -np 2 -b 4M -e 256M -f 4 -w 1
}

section_tensors() {
	local model how bytes TENSORS
	for model in resnet50 gpt2; do
		bytes=$(awk -F, '!/^#/ { n += $3 } END { print n * 4 }' bench/models/$model.csv)
		for how in single fused; do
			TENSORS=$PWD/bench/models/$model.csv
			[ $how = single ] || TENSORS+=:$((25 << 20))
			peer ompi4 ompi4
			tuned_all_sizes
			compare "tensors-$model-$how" shm,shm/user,torch -np 2 -b "$bytes" -e "$bytes" -w 1
		done
	done
}

section_dtypes() { # alternately, and as many elements of each
	local r
	for ((r = 1; r <= ROUNDS; r++)); do
		bench "dtypes-f32-$r" --compare shm,shm/user --rounds 1 -np 2 -d f32 -b 4M -e 256M -f 8
		bench "dtypes-bf16-$r" --compare shm,shm/user --rounds 1 -np 2 -d bf16 -b 2M -e 128M -f 8
	done
}

section_oversubscribed() {
	peer ompi4 ompi4 "" --oversubscribe
	peer ompi5 ompi5 "" --oversubscribe
	compare oversubscribed shm,shm/user -np 4 --oversubscribe -b 4 -e 64M -f 16
}

section_net() {
	if [ "$(id -u)" != 0 ]; then
		echo "bench/peers.sh: net needs root, for network namespaces: left out" >&2
		return
	fi
	bench/coll_net.sh "$B" "$OUT" "$(((ROUNDS + 1) / 2))" || failed=1
}

section_malloc() {
	local how run
	for how in default ring; do
		run="$B/lockstep run -np 2 --bind-to none --no-prefix"
		[ $how = default ] || run="env OMPI_MCA_coll_tuned_use_dynamic_rules=1 OMPI_MCA_coll_tuned_allreduce_algorithm=5 \
OMPI_MCA_coll_tuned_allreduce_algorithm_segmentsize=262144 $run"
		args=(--contender "on=exec $run --dir $OUT/malloc-on -- $P/ompi4/coll_peer"
			--contender "off=exec $run --dir $OUT/malloc-off -x LOCKSTEP_MALLOC=default -- $P/ompi4/coll_peer")
		bench malloc-$how --rounds "$ROUNDS" -np 2 -b 1M -e 256M -f 4 -w 1
		rm -rf "$OUT/malloc-on" "$OUT/malloc-off"
	done
}

section_gpt() { # its table is the page's last part
	{ printf '## A training step of examples/gpt against DDP\n\n'; B=$B bench/gpt_ddp.py --rounds "$ROUNDS" --compile --markdown; } >"$OUT/gpt.md" || failed=1
}

# The rank program, with each peer's compiler.
build_programs() {
	local p
	for p in ompi4 ompi5 mpich4 mpich5 impi; do
		[ ! -x "$P/$p/mpicc" ] || "$P/$p/mpicc" -std=gnu11 -D_GNU_SOURCE -O2 -I. bench/coll_{peer_mpi,rank,data,tensors}.c -lm -o "$P/$p/coll_peer"
	done
}

main() {
	local s args=()
	[ $# -gt 0 ] || eval "set -- $SECTIONS"
	for s in "$@"; do
		[[ " $SECTIONS " == *" $s "* ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2; }
	done
	bench/setup-mpi-peers.sh >/dev/null
	bench/setup-torch.sh >/dev/null
	build_programs
	mkdir -p "$OUT"
	for s in "$@"; do
		rm -f "$OUT/$s"[-.]*
		date -u +%F >"$OUT/$s.date"
		"section_$s"
		{ python3 bench/peers_page.py "$P"; [ ! -e "$OUT/gpt.md" ] || cat "$OUT/gpt.md"; } >"$P/RESULTS.md"
	done
	echo "$P/RESULTS.md"
	exit $failed
}

main "$@"
