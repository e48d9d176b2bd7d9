# lockstep.bash -- completion of the lockstep command in bash: options, files, hosts, and after the program's name
# what bash itself would offer for that program. The options are those of launcher/options.c; a test compares them.

_lockstep_hosts() { # the names in ~/.ssh/config and /etc/hosts
	awk 'tolower($1) == "host" { for (i = 2; i <= NF; i++) if ($i !~ /[*?!]/) print $i }' ~/.ssh/config 2>/dev/null
	awk '$1 !~ /^#/ { for (i = 2; i <= NF; i++) print $i }' /etc/hosts 2>/dev/null
}

_lockstep_words() { # WORD...: those that begin with the current one
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur")
}

_lockstep_files() { # PATTERN: such files, and folders
	mapfile -t COMPREPLY < <({ compgen -f -X "!$1" -- "$cur"; compgen -d -- "$cur"; } | sort -u)
	compopt -o filenames
}

# Where the program begins: the first word after "run" that is neither an option nor an option's value; 0: not yet.
_lockstep_program() {
	local i
	for ((i = 2; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--) echo $((i + 1)); return ;;
		--mca | --prtemca | --pmixmca) i=$((i + 2)) ;;
		--preflight | --preflight=* | --oversubscribe | --local | --dry-run | --fresh | --report-bindings | --no-prefix | -q | --quiet | -h | --help) ;;
		-*) [[ ${COMP_WORDS[i + 1]-} == = ]] && i=$((i + 1)); i=$((i + 1)) ;;
		*) echo "$i"; return ;;
		esac
	done
	echo 0
}

_lockstep_run() {
	local start
	start=$(_lockstep_program)
	if ((start > 0)); then
		_command_offset "$start" 2>/dev/null || _lockstep_files '*'
		return
	fi
	case $prev in
	-f | --file) _lockstep_files '*.[yj]*' ;;
	-H | --host) _lockstep_words "$(_lockstep_hosts)" ;;
	--bind-to) _lockstep_words auto gpu numa core none ;;
	--map-by) _lockstep_words slot node ppr: ;;
	--hostfile | --machinefile | --mpirun | --remote-path | --workers) _lockstep_files '*' ;;
	--wdir | --wd | --dir) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	-x) mapfile -t COMPREPLY < <(compgen -e -- "$cur") ;;
	--set | -np | -n | -c | -N | --npernode | --ppn | --name | --max-restarts) ;;
	--grace | --timeout | --start-timeout | --ssh | --mca | --attempt | --losses) ;;
	*)
		if [[ $cur == -* ]]; then
			_lockstep_words -f --file --set -np -n -c -H --host --hostfile --machinefile -N --npernode --ppn -x \
				--bind-to --map-by --oversubscribe --local --wdir --wd --dry-run --dir --name --fresh --max-restarts \
				--preflight --preflight=fail --grace --timeout --start-timeout --mpirun --mca --ssh --remote-path --workers --attempt --losses --report-bindings \
				--no-prefix -q --quiet -h --help
		else
			mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		fi
		;;
	esac
}

_lockstep_topo() {
	case $prev in
	--topology | --svg | --hostfile | --remote-path) _lockstep_files '*' ;;
	--bind-to) _lockstep_words auto gpu numa core none ;;
	-np | -n) _lockstep_words auto ;;
	*) _lockstep_words --topology -H --host --hostfile --ssh --remote-path -np --bind-to --svg --xml --help ;;
	esac
}

_lockstep_ckpt() {
	if ((COMP_CWORD == 2)); then
		_lockstep_words ls show verify gc export import --help
	elif [[ $cur == -* ]]; then
		case ${COMP_WORDS[2]} in
		ls) _lockstep_words --json ;;
		show | verify) _lockstep_words --step --generation --json ;;
		gc) _lockstep_words --keep --dry-run ;;
		export) _lockstep_words -o --output --step --generation --force ;;
		import) _lockstep_words --step ;;
		esac
	elif [[ $prev != --step && $prev != --generation && $prev != --keep ]]; then
		_lockstep_files '*'
	fi
}

_lockstep_bench_scale() {
	case $prev in
	-f | --file) _lockstep_files '*.@(yaml|yml|json)' ;;
	--report) _lockstep_files '*.html' ;;
	--json | --csv | --hostfile) _lockstep_files '*' ;;
	--ranks | --weak | --strong | --set | -x | --steps | --seconds | --warmup | --repeats | --timeout | -H | --host) return ;;
	*) _lockstep_words -f --file --ranks --weak --strong --set -x -H --host --hostfile --steps --seconds --warmup --repeats --timeout --json --csv --report ;;
	esac
}

_lockstep_net() {
	case $prev in
	-H | --host) _lockstep_words "$(_lockstep_hosts)" ;;
	--hostfile | --json | --mpirun | --remote-path) _lockstep_files '*' ;;
	--bind-to) _lockstep_words auto gpu numa core none ;;
	-N | -x | --seconds | --below | --expect-gbps | --ssh | --timeout | --start-timeout) ;;
	*) _lockstep_words -H --host --hostfile -N --seconds --below --expect-gbps --json --timeout --bind-to --oversubscribe --mpirun --ssh --remote-path \
		--start-timeout -x --help ;;
	esac
}

_lockstep_bench() {
	[ "${COMP_WORDS[2]}" != scale ] || [ "$prev" = bench ] || { _lockstep_bench_scale; return; }
	[[ $COMP_CWORD == 2 || ${COMP_WORDS[2]} != net ]] || { _lockstep_net; return; }
	case $prev in
	bench) _lockstep_words ckpt net scale predict all-reduce reduce-scatter all-gather broadcast barrier --help; return ;;
	--like) _lockstep_files '*.safetensors'; return ;;
	--topology | --validate) _lockstep_files '*.yaml'; return ;;
	--run | --model | --fit) _lockstep_files '*'; return ;;
	--shard) _lockstep_words none zero2 zero3; return ;;
	--ranks | --nodes | --compute-ms | --spread | --optimizer-ms | --batch | --bytes | --element | --bucket | --backward | --gather-ratio | --strong) return ;;
	--plot) _lockstep_files '*.svg'; return ;;
	--hostfile | --python) _lockstep_files '*'; return ;;
	--backend) _lockstep_words auto shm mpi hier; return ;;
	--device) _lockstep_words cpu cuda; return ;;
	--buffers) _lockstep_words library user; return ;;
	--place) _lockstep_words out in both; return ;;
	--compare) _lockstep_words auto shm shm/user hier hier/user lockstep-mpi mpi torch nccl nccl/user peer-nccl peer-nccl/wait; return ;;
	-d | --datatype) _lockstep_words f64 f32 f16 bf16 i64 i32 all; return ;;
	-o | --op) _lockstep_words sum avg min max all; return ;;
	--uri | --mib | -np | --step-ms | --saves | -[befinwcrH] | --algorithm | --contender | --rounds | --timeout) return ;;
	esac
	case ${COMP_WORDS[2]} in
	ckpt) _lockstep_words --uri --mib --like -np --step-ms --saves --json ;;
	predict) _lockstep_words --topology --ranks --nodes --run --compute-ms --spread --optimizer-ms --batch --model --bytes --element --bucket --backward \
		--no-overlap --shard --gather-ratio --strong --fit --contender --algorithm --json --validate ;;
	*) _lockstep_words -b --minbytes -e --maxbytes -f --stepfactor -i --stepbytes -n --iters -w --warmup_iters -c --check -d --datatype \
		-o --op -r --root -np -H --host --hostfile --oversubscribe --no-bind --device --backend --algorithm --buffers --place --compare --contender \
		--python --rounds --timeout --json --csv --plot ;;
	esac
}

_lockstep_jobs() { # their names in the cluster
	mapfile -t COMPREPLY < <(compgen -W "$(lockstep get -o name 2>/dev/null | cut -d/ -f2) $*" -- "$cur")
}

_lockstep_cluster() {
	local common="-n --namespace --context --kubeconfig --help"
	case $prev in
	-f | --file) [[ ${COMP_WORDS[1]} == submit ]] && _lockstep_files '*.[yj]*' && return ;;
	--kubeconfig) _lockstep_files '*' && return ;;
	-o | --output) _lockstep_words table json yaml name && return ;;
	--for) _lockstep_words Succeeded Failed Running Suspended delete && return ;;
	-n | --namespace | --context | --set | --rank | --attempt | --worker | --timeout) return ;;
	esac
	case ${COMP_WORDS[1]} in
	submit) _lockstep_words -f --file --set -F --follow --dry-run --dry-run=server "$common" ;;
	get) if [[ $cur == -* ]]; then _lockstep_words -A --all-namespaces -o --output -w --watch "$common"; else _lockstep_jobs nodes; fi ;;
	logs) if [[ $cur == -* ]]; then _lockstep_words -f --follow --rank --attempt --worker -p --previous "$common"; else _lockstep_jobs; fi ;;
	wait) if [[ $cur == -* ]]; then _lockstep_words --for --timeout "$common"; else _lockstep_jobs; fi ;;
	delete) if [[ $cur == -* ]]; then _lockstep_words --all --wait=false "$common"; else _lockstep_jobs; fi ;;
	*) if [[ $cur == -* ]]; then _lockstep_words "$common"; else _lockstep_jobs; fi ;;
	esac
}

_lockstep() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		_lockstep_words run topo ckpt bench submit get describe logs wait suspend resume delete report explain operator help version --help --version
		return
	fi
	case ${COMP_WORDS[1]} in
	run) _lockstep_run ;;
	topo) _lockstep_topo ;;
	ckpt) _lockstep_ckpt ;;
	bench) _lockstep_bench ;;
	submit) _lockstep_cluster ;;
	get) _lockstep_cluster ;;
	describe) _lockstep_cluster ;;
	logs) _lockstep_cluster ;;
	wait) _lockstep_cluster ;;
	suspend) _lockstep_cluster ;;
	resume) _lockstep_cluster ;;
	delete) _lockstep_cluster ;;
	report) if [[ $cur == -* ]]; then _lockstep_words -o --output --help; else _lockstep_files '*'; fi ;;
	explain) _lockstep_words --markdown --crd --help metadata spec spec.workers spec.placement spec.checkpoint spec.runPolicy ;;
	operator) _lockstep_words --image --namespace --kubeconfig --context --kube-api-qps --kube-api-burst --metrics-address --leader-elect \
		--lease-namespace --log-level --help ;;
	esac
}

complete -F _lockstep lockstep
