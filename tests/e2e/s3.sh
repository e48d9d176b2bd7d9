#!/bin/bash
# The store on real servers: what each promises (store_tool's contract), and a proxy that breaks requests, answers and bytes in turn. After
# each fault the data are right, and no unfinished upload is left.
# limit: 600
. "$(dirname "$0")/../lib.sh"

tool=$B/tests/store_tool
PATH=$("$ROOT/tests/setup-s3.sh"):$PATH
store=s3://lockstep/job
unset http_proxy HTTP_PROXY

server() { # start KIND [--tls] | stop
	case $1 in
	start) eval "$("$ROOT/tests/s3server" start "$2" "$TMP/$2${3-}" ${3-})"; running=$TMP/$2${3-} ;;
	stop) "$ROOT/tests/s3server" stop "$running"; unset AWS_CA_BUNDLE ;;
	esac
}

contract() { # NAME URI
	local out
	out=$(timeout 200 "$tool" "$2" contract 2>&1) || { failures=$((failures + 1)); echo "$out" | grep -q ^FAIL || fail "$1" "$out"; }
	sed -E "s#^(ok|FAIL) #&$1: #" <<<"$out"
}

# --- contracts -------------------------------------------------------------------------------------------------------

contract "file://" "file://$TMP/files/store"

server start minio
contract minio "s3://lockstep/some prefix+/x"
server stop

server start versitygw --tls
contract "versitygw, TLS" s3://lockstep/tls
expect_match "payloads may be signed over TLS, too" '^ok$' "$(LOCKSTEP_S3_PAYLOAD=signed "$tool" $store put k 20000000)"
expect_match "an authority that nobody knows is named as the cause" '^usage: .*AWS_CA_BUNDLE' \
	"$(AWS_CA_BUNDLE= timeout 20 "$tool" $store check k 1)"
server stop

server start versitygw
contract versitygw s3://lockstep
expect_match "payloads need not be signed" '^ok$' "$(LOCKSTEP_S3_PAYLOAD=unsigned "$tool" $store put k 20000000)"
expect_eq "virtual-host style" same "$(mkdir aws; printf '[default]\ns3 =\n  addressing_style = virtual\n' >aws/config
	AWS_CONFIG_FILE=aws/config AWS_ENDPOINT_URL_S3=${AWS_ENDPOINT_URL_S3/127.0.0.1/localhost} "$tool" $store check k 20000000 |
		sed 's/^ok$/same/')"

# --- refusals --------------------------------------------------------------------------------------------------------

out=$(AWS_SECRET_ACCESS_KEY=wrong-secret-of-mine timeout 20 "$tool" $store put k 1)
expect_match "a wrong secret is refused with the remedy" '^usage: .*SignatureDoesNotMatch.*credentials from' "$out"
expect_no_match "and is not told" 'wrong-secret-of-mine' "$out"
expect_match "an unknown access key is refused" '^usage: .*(InvalidAccessKeyId|UserNotFound).*credentials from' "$(AWS_ACCESS_KEY_ID=nobody timeout 20 "$tool" $store put k 1)"
expect_match "a bucket that is not there is named" '^usage: .*NoSuchBucket.*make the bucket' \
	"$(timeout 20 "$tool" s3://no-such-bucket/x put k 1)"
out=$(AWS_ENDPOINT_URL_S3=http://127.0.0.1:1 LOCKSTEP_S3_RETRY_SECONDS=2 timeout 20 "$tool" $store put k 1)
expect_match "a server that is away is tried for as long as was said" '^again: .*[0-9]+ tries in [012]\.[0-9] s, the last: .*connect' "$out"

# --- faults ----------------------------------------------------------------------------------------------------------

server_url=$AWS_ENDPOINT_URL_S3
"$ROOT/tests/s3proxy.py" "$server_url" >proxy.url &
proxy=$!
wait_until 10 test -s proxy.url
AWS_ENDPOINT_URL_S3=$(head -1 proxy.url)
export AWS_ENDPOINT_URL_S3 LOCKSTEP_S3_RETRY_SECONDS=20

rules() { printf '%s\n' "$@" | curl -sS --noproxy '*' "$AWS_ENDPOINT_URL_S3/__rules" --data-binary @- >/dev/null; }
fired() { curl -sS --noproxy '*' "$AWS_ENDPOINT_URL_S3/__log" | grep -oE '"action": "[a-z_]+"' | grep -vc pass; }
tidy() { [ "$(timeout 60 "$tool" $store sweep "" "~" dry)" = 0 ]; }

small=5000 large=40000000 # one request; five parts
n=0

put_through() { # NAME BYTES RULE [new]: the fault fires, the put succeeds all the same
	local key=f/$((n += 1)) out times
	rules "$3"
	out=$(timeout 60 "$tool" $store put "$key" "$2" ${4-})
	times=$(fired)
	rules
	if [ "$out" = ok ] && [ "$times" -gt 0 ]; then
		expect_eq "put: $1" ok "$(timeout 60 "$tool" $store check "$key" "$2")"
	else
		fail "put: $1" "fired $times times; $out"
	fi
	tidy || fail "put: $1: nothing is left" "$(timeout 60 "$tool" $store sweep "" "~" dry) uploads are"
}

part='"method": "PUT", "query": "partNumber"'
create='"method": "POST", "query": "uploads"'
complete='"method": "POST", "query": "^uploadId"'
whole='"method": "PUT", "path": "/f/"'
put_through "503 SlowDown for each third part" $large "{$part, \"every\": 3, \"action\": \"answer\", \"status\": 503}"
put_through "503 before the body was read" $large "{$part, \"first\": 3, \"action\": \"answer\", \"status\": 503, \"early\": true}"
put_through "429 with Retry-After" $large "{$part, \"nth\": 1, \"action\": \"answer\", \"status\": 429, \"retry_after\": 1}"
put_through "500 for the first creations" $large "{$create, \"first\": 2, \"action\": \"answer\", \"status\": 500}"
put_through "lost connections" $large "{$part, \"first\": 3, \"action\": \"reset\"}"
put_through "lost answers of parts" $large "{$part, \"first\": 3, \"action\": \"reset\", \"applied\": true}"
put_through "a lost answer of the creation" $large "{$create, \"nth\": 1, \"action\": \"reset\", \"applied\": true}"
put_through "bytes that change on their way, in a part" $large "{$part, \"nth\": 2, \"action\": \"corrupt_body\", \"at\": 100000}"
put_through "bytes that change on their way" $small "{$whole, \"nth\": 1, \"action\": \"corrupt_body\", \"at\": 1000}"
LOCKSTEP_S3_PAYLOAD=unsigned \
	put_through "the same without a signature over them" $small "{$whole, \"nth\": 1, \"action\": \"corrupt_body\", \"at\": 1000}"
put_through "a clock that is said to be wrong" $small "{$whole, \"nth\": 1, \"action\": \"answer\", \"status\": 403, \"date_offset\": 7200}"
put_through "an error in an answer with status 200" $large "{$complete, \"nth\": 1, \"action\": \"answer\", \"status\": 200}"
put_through "a lost answer at the very end" $large "{$complete, \"nth\": 1, \"action\": \"reset\", \"applied\": true}"
put_through "a conflict at the very end: once more from the beginning" $large "{$complete, \"nth\": 1, \"action\": \"answer\", \"status\": 409}"
put_through "a lost answer, only_new: it was ours" $small "{$whole, \"nth\": 1, \"action\": \"reset\", \"applied\": true}" new
put_through "the same with 500" $small "{$whole, \"nth\": 1, \"action\": \"answer\", \"status\": 500, \"applied\": true}" new
put_through "the same in parts" $large "{$complete, \"nth\": 1, \"action\": \"reset\", \"applied\": true}" new
put_through "a conflict of conditional puts" $small "{$whole, \"nth\": 1, \"action\": \"answer\", \"status\": 409}" new
LOCKSTEP_S3_RETRY_SECONDS=2 put_through "a stall" $large "{$part, \"nth\": 1, \"action\": \"stall\", \"seconds\": 30}"

"$tool" $store put taken 100 >/dev/null
rules '{"method": "PUT", "nth": 1, "action": "reset"}'
expect_match "after a lost connection, an object of somebody else is not ours" '^exists: ' "$("$tool" $store put taken 100 new)"
rules

get_through() { # NAME BYTES RULE
	local out times
	"$tool" $store put "get/$2" "$2" >/dev/null
	rules "$3"
	out=$(timeout 60 "$tool" $store check "get/$2" "$2")
	times=$(fired)
	rules
	if [ "$times" -gt 0 ]; then expect_eq "get: $1" ok "$out"; else fail "get: $1" "the fault did not fire"; fi
}

get='"method": "GET", "path": "/get/"'
get_through "503 for each third range" $large "{$get, \"every\": 3, \"action\": \"answer\", \"status\": 503}"
get_through "500 for HEAD" $large '{"method": "HEAD", "first": 2, "action": "answer", "status": 500}'
get_through "connections lost in the middle" $large "{$get, \"first\": 3, \"action\": \"reset\", \"at\": 1000000}"
get_through "truncated bodies" $large "{$get, \"first\": 3, \"action\": \"truncate\", \"at\": 1000000}"
get_through "a truncated small one" $small "{$get, \"nth\": 1, \"action\": \"truncate\", \"at\": 0}"
get_through "a changed bit" $small "{$get, \"nth\": 1, \"action\": \"corrupt\", \"at\": 77}"
get_through "a changed bit in a range" $large "{$get, \"nth\": 3, \"action\": \"corrupt\", \"at\": 777777}"
LOCKSTEP_S3_RETRY_SECONDS=2 get_through "a stall in the middle" $large "{$get, \"nth\": 2, \"action\": \"stall\", \"at\": 1000, \"seconds\": 30}"

rules "{$get, \"action\": \"corrupt\", \"at\": 77}"
expect_match "a bit that changes each time is bad data" '^bad data: .*CRC-32C' "$("$tool" $store check "get/$small" $small)"
rules '{"method": "GET", "query": "list-type", "nth": 1, "action": "truncate", "at": 100}'
expect_match "list: a truncated answer" "get/$small $small" "$("$tool" $store list get/)"
rules '{"method": "POST", "query": "delete", "nth": 1, "action": "reset", "applied": true}'
expect_eq "delete: a lost answer" ok "$("$tool" $store delete "get/$small" "get/$large")"

# --- for good --------------------------------------------------------------------------------------------------------

rules "{$part, \"action\": \"answer\", \"status\": 503}"
began=$SECONDS
out=$(LOCKSTEP_S3_RETRY_SECONDS=3 timeout 60 "$tool" $store put f/never $large)
expect_match "a store that is busy for good: again, with the cause" "^again: UploadPart of $store/f/never at http.* tries in .*503 SlowDown" "$out"
expect_eq "in bounded time" yes "$([ $((SECONDS - began)) -le 8 ] && echo yes || echo $((SECONDS - began)) s)"
rules
expect_match "and nothing is there" '^not found' "$("$tool" $store check f/never $large)"
tidy && ok "nor left" || fail "nor left"

rules "{$part, \"action\": \"stall\", \"seconds\": 30}"
began=$SECONDS
expect_match "a put that is cancelled ends" '^again: .*cancelled' "$(timeout 60 "$tool" $store cancel 500 f/cancelled $large)"
expect_eq "soon" yes "$([ $((SECONDS - began)) -le 3 ] && echo yes || echo $((SECONDS - began)) s)"
rules
tidy && ok "and leaves nothing" || fail "and leaves nothing"

rules "{$part, \"action\": \"stall\", \"seconds\": 30}"
timeout -s KILL 1 "$tool" $store put step-7/killed $large
timeout -s KILL 1 "$tool" $store put step-8/killed $large
rules
expect_eq "uploads of killed processes are found" 2 "$("$tool" $store sweep step- step-9 dry)"
expect_eq "and aborted in their range" 1 "$("$tool" $store sweep step- step-7)"
expect_eq "only" 1 "$("$tool" $store sweep "" "~")"
tidy && ok "until none is left" || fail "until none is left"

kill "$proxy"
wait "$proxy" 2>/dev/null

# --- the server dies -------------------------------------------------------------------------------------------------

export AWS_ENDPOINT_URL_S3=$server_url
"$tool" $store put big 600000000 >put.out &
put=$!
sleep 0.7
kill -9 "$S3SERVER_PID"
sleep 1
eval "$("$ROOT/tests/s3server" start versitygw "$TMP/versitygw")"
wait $put
expect_eq "a put survives the server's death" ok "$(<put.out)"
expect_eq "with the right bytes" ok "$("$tool" $store check big 600000000)"
tidy && ok "and no upload is left" || fail "and no upload is left"
server stop
no_leftovers "after the stores"
