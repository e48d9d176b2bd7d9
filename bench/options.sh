# options.sh -- sourced by ckpt.sh and recover.sh: [-r ROUNDS] [-m MIB] [-d DIR]; another option prints the head of the script.
rounds=5 mib=256 dir=.
while getopts r:m:d: o; do
	case $o in
	r) rounds=$OPTARG ;;
	m) mib=$OPTARG ;;
	d) dir=$OPTARG ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2 ;;
	esac
done
