#!/bin/bash
# s3.sh [-r ROUNDS] [-m MIB] [-c CHECK] [-t] [-s SERVER] [NAME=COMMAND]... -- one file to a real object store and back, by several
# clients in turn.
#
#   -r 5  -m 1024  -c none    CHECK as in bench/s3_peers.py; -t: over TLS; -s: versitygw or minio, else both
#   NAME=COMMAND              runs COMMAND put|get s3://lockstep/KEY FILE, which prints {"seconds": wall, "cpu": user and system};
#                             without any: build/bench/s3_copy where it is built, and the peers
#
# Each round runs every client once, upload and then download of the same object, so that a busy machine hurts all alike; after one
# round that does not count. Every download is compared with the source. The ratio is to the first client, round by round; the median
# counts, and the spread is the middle half. Server and clients share all cores, nothing is pinned; the store and both files lie in
# memory (/dev/shm), four times MIB of it.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 mib=1024 check=none tls="" servers=()
while getopts r:m:c:ts: o; do
	case $o in
	r) rounds=$OPTARG ;;
	m) mib=$OPTARG ;;
	c) check=$OPTARG ;;
	t) tls=--tls ;;
	s) servers+=("$OPTARG") ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ ${#servers[@]} -gt 0 ] || servers=(versitygw minio)
if [ $# = 0 ]; then
	peer="$(bench/setup-peers.sh)/bin/python bench/s3_peers.py"
	[ ! -x build/bench/s3_copy ] || set -- "lockstep=build/bench/s3_copy"
	set -- "$@" "s5cmd, sha256=$peer --check sha256 s5cmd" "aws-cli, $check=$peer --check $check aws" \
		"boto3, $check=$peer --check $check boto3"
	[ "$check" = sha256 ] || set -- "$@" "AWS CRT, $check=$peer --check $check awscrt"
fi
tests/setup-s3.sh >/dev/null

dir=$(mktemp -d /dev/shm/lockstep-s3.XXXXXX)
server="" # the one that runs
cleanup() {
	[ -z "$server" ] || tests/s3server stop "$dir/$server"
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

once() { # ROUND NAME COMMAND VERB FILE: a line of results; round 0 does not count
	local line
	# The command is words.
	# shellcheck disable=SC2086
	line=$(timeout 600 $3 "$4" s3://lockstep/object "$5") || { echo "$2 $4: failed" >&2; exit 1; }
	[ "$1" = 0 ] || printf '%s\t%s\t%s\n' "$4" "$2" "$line" >>"$dir/results"
}

table() {
	python3 - "$dir/results" "$mib" <<-'END'
		import collections, json, statistics, sys
		runs = collections.defaultdict(list)
		for line in open(sys.argv[1]):
		    verb, name, result = line.rstrip("\n").split("\t")
		    runs[verb, name].append(json.loads(result))
		bytes_mb = int(sys.argv[2]) * 1.048576
		def middle(values):
		    q = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
		    return f"{q[1]:7.2f} [{q[0]:.2f}, {q[2]:.2f}]"
		for verb, label in (("put", "upload"), ("get", "download")):
		    names = [n for v, n in runs if v == verb]
		    print(f"  {label:<24} {'MB/s':>6}   {'seconds [middle half]':<24} {'CPU s':>6}   time to {names[0]}'s [middle half]")
		    for name in names:
		        seconds = [r["seconds"] for r in runs[verb, name]]
		        ratios = [s / first["seconds"] for s, first in zip(seconds, runs[verb, names[0]])]
		        cpu = statistics.median(r["cpu"] for r in runs[verb, name])
		        print(f"  {name:<24} {bytes_mb / statistics.median(seconds):6.0f}   {middle(seconds):<24} {cpu:6.2f}   {middle(ratios)}")
	END
}

head -c "${mib}M" /dev/urandom >"$dir/source"
for kind in "${servers[@]}"; do
	server=$kind
	# shellcheck disable=SC2086
	env=$(tests/s3server start "$kind" "$dir/$kind" $tls)
	eval "$env"
	rm -f "$dir/results"
	for ((n = 0; n <= rounds; n++)); do
		for row in "$@"; do
			once $n "${row%%=*}" "${row#*=}" put "$dir/source"
			rm -f "$dir/copy"
			once $n "${row%%=*}" "${row#*=}" get "$dir/copy"
			cmp "$dir/source" "$dir/copy"
		done
	done
	echo "$kind${tls:+, over TLS}: $mib MiB, $rounds rounds, $(nproc) cores shared by server and client"
	table
	tests/s3server stop "$dir/$kind"
	server=""
	rm -rf "${dir:?}/$kind"
	unset AWS_CA_BUNDLE
done
