#!/bin/bash
# What a compiler does not check: the arrows between folders, sizes, and that the documents say what the code does.
# Reads the repository and asks $B/lockstep; starts nothing. Part of `make check`.
. "$(dirname "$0")/lib.sh"
cd "$ROOT" || exit 1

none() { # NAME WHY TEXT: ok if there is no text
	if [ -z "$3" ]; then ok "$1"; else fail "$1" "$2:"$'\n'"$3"; fi
}

includes() { # PATTERN FILE...: #include lines whose name matches
	local pattern=$1
	shift
	grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($pattern)" "$@" /dev/null
}

files() { # PATHSPEC...: tracked or new, not ignored
	git ls-files -co --exclude-standard -- "$@" | while IFS= read -r f; do [ ! -f "$f" ] || echo "$f"; done
}

mapfile -t core < <(files 'core/*.[ch]')
mapfile -t collectives < <(files 'collectives/*.[ch]' 'collectives/*.cu')
mapfile -t worker < <(files 'worker/*.[ch]')
mapfile -t launcher < <(files 'launcher/*.[ch]')
mapfile -t operator < <(files 'operator/*.[ch]')
mapfile -t code < <(files '*.[ch]')
mapfile -t text < <(files | grep -vE '\.(csv|xml|png|gz)$')

# --- arrows ----------------------------------------------------------------------------------------------------------

none "core/ includes nothing of the other folders" "these do" \
	"$(includes '(launcher|worker|collectives|operator)/' "${core[@]}")"
none "collectives/ includes nothing of worker/ and launcher/" "these do" \
	"$(includes '(worker|launcher|operator)/' "${collectives[@]}")"
none "worker/ includes nothing of launcher/" "these do" "$(includes '(launcher|operator)/' "${worker[@]}")"
none "launcher/ includes nothing of worker/ and collectives/" "these do" \
	"$(includes '(worker|collectives|operator)/' "${launcher[@]}")"
none "operator/ includes of the others core/ and the table of commands alone" "these include more" \
	"$(includes '(worker|collectives|launcher)/' "${operator[@]}" | grep -v '"launcher/commands.h"')"
unnamed() { # WORD...: code files without _WORD in their names
	printf '%s\n' "${code[@]}" | grep -vE "_($(IFS='|'; echo "$*"))[^/]*$"
}
none "mpi.h, CUDA and NCCL only in files that are named so" "these are not" "$(
	includes 'mpi\.h|mpi-ext\.h' $(unnamed mpi)
	includes 'cuda' $(unnamed cuda nccl)
	includes 'nccl' $(unnamed nccl))"
none "the command links neither MPI nor NCCL" "it needs" "$(ldd "$B/lockstep" | grep -iE 'libmpi|libnccl|libcuda')"

# --- sizes -----------------------------------------------------------------------------------------------------------

none "no source file outside tests/ over 650 lines" "split these" \
	"$(wc -l $(files '*.c' '*.h' '*.sh' '*.py' Makefile | grep -v '^tests/') | awk '$2 != "total" && $1 > 650')"

# --- documents -------------------------------------------------------------------------------------------------------

if lockstep explain --markdown | cmp -s - docs/trainingjob.md; then
	ok "docs/trainingjob.md is what lockstep explain says"
else
	fail "docs/trainingjob.md is what lockstep explain says" "run: $B/lockstep explain --markdown > docs/trainingjob.md"
fi

if lockstep explain --crd | cmp -s - deploy/crd.yaml; then
	ok "deploy/crd.yaml is what lockstep explain says"
else
	fail "deploy/crd.yaml is what lockstep explain says" "run: $B/lockstep explain --crd > deploy/crd.yaml"
fi

# mdoc's "Fl n , \-name": the words behind Fl, with the dash that it prints.
man_options=" $(awk '/^\.(It Fl|Op Fl|Fl)/ { for (i = 2; i <= NF; i++) { w = $i
	if (w == "Fl" || w == ",") continue
	if (w == "Ar") break
	gsub(/\\-/, "-", w); printf "-%s ", w } }' deploy/lockstep.1) "
mapfile -t options < <(lockstep run --help | sed -nE 's/^  (-.*)/\1/p' | sed 's/   .*//' | tr ' ' '\n' | grep '^-')
lack() { # TEXT: options of run that do not stand in it as words
	local o
	for o in "${options[@]}"; do
		[[ $1 =~ (^|[^-a-z])"$o"([^-a-z]|$) ]] || echo "$o"
	done
}

[ "${#options[@]}" -gt 20 ] && ok "lockstep run --help lists its options" || fail "lockstep run --help lists its options"
none "the man page has every option of run" "it lacks" "$(lack "$man_options")"
none "the completion for bash has every option of run" "it lacks" "$(lack "$(<deploy/completion/lockstep.bash)")"
none "the completion for zsh has every option of run" "it lacks" "$(lack "$(<deploy/completion/_lockstep)")"
none "the man page and completions have every command" "they lack" "$(
	for c in $(lockstep --help | sed -nE 's/^  ([a-z]+) .*/\1/p'); do
		grep -qE "^\.(It )?Cm $c( |$)" deploy/lockstep.1 || echo "$c: man page"
		grep -qE "^	$c\)" deploy/completion/lockstep.bash || echo "$c: bash"
		grep -qE "^	$c\)" deploy/completion/_lockstep || echo "$c: zsh"
	done)"

# Names in quotes are variables; enum LOCKSTEP_OK and macros are not in quotes.
none "docs/environment.md or the man page has every LOCKSTEP_ variable" "they lack" "$(
	grep -ohE '"LOCKSTEP_[A-Z_]+["=]' "${core[@]}" "${collectives[@]}" "${worker[@]}" "${launcher[@]}" "${operator[@]}" | tr -d '"=' | sort -u |
		while read -r v; do grep -qw "$v" docs/environment.md deploy/lockstep.1 || echo "$v"; done)"
none "docs/environment.md has every variable that environ.c sets" "it lacks" "$(
	grep -oE '"[A-Z][A-Z0-9]+_[A-Za-z_0-9]+"|"RANK"' launcher/environ.c | tr -d '"' | sort -u |
		while read -r v; do [ "$v" = PCI_BUS_ID ] || grep -qw "$v" docs/environment.md || echo "$v"; done)"
none "docs/environment.md has every event" "it lacks" "$(
	sed -nE 's/^\t\{ "([a-z]+)", on_.*/\1/p' launcher/watch.c | while read -r v; do
		grep -qE "^\| \`$v " docs/environment.md || echo "$v"
	done)"
none "docs/architecture.md has every field of job.json" "it lacks" "$(
	{ grep -oE '(set_text|set_number|array|set|cJSON_AddArrayToObject)\([a-z>.-]+, "[a-zA-Z]+"' launcher/record.c | sed -E 's/.*"(.*)"/\1/'; } |
		sort -u | while read -r v; do grep -q "\`[^\`]*\b$v\b[^\`]*\`" docs/architecture.md || echo "$v"; done)"
none "docs/architecture.md has every message of the control channel" "it lacks" "$(
	sed -nE 's/^\tLS_MSG_([A-Z_]+).*/\1/p' launcher/wire.h | while read -r v; do
		grep -qw "$v" docs/architecture.md || echo "$v"
	done)"
none "docs/collectives.md has the rows of algorithms.c, in its order, and a section for each" "they differ" "$(
	rows=$(sed -nE 's/^\t&ls_([a-z]+)_([a-z]+),$/\1 \2/p' collectives/algorithms.c)
	diff <(echo "$rows") <(sed -nE 's/^\| ([a-z]+) \| `([a-z]+)` \|.*/\1 \2/p' docs/collectives.md)
	while read -r row; do [ "$row" = "mpi library" ] || grep -qx "### $row" docs/collectives.md || echo "no section: $row"; done <<<"$rows")"
none "links between documents lead somewhere" "these do not" "$(
	for f in *.md docs/*.md examples/*/*.md; do
		grep -oE '\]\([^)#]+' "$f" | cut -c3- | grep -vE '^https?:' | while read -r to; do
			[ -e "$(dirname "$f")/$to" ] || echo "$f: $to"
		done
	done)"

# Paths of the machines on which this was written. The brackets keep this line from finding itself.
none "no paths of one machine in the files" "these have" "$(grep -nE '(^|[^A-Za-z0-9_.}])/([w]ork|[r]oot)/' "${text[@]}" /dev/null)"
