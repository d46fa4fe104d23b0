#!/bin/bash
# W5: nobody names an address. discover.sh DATA RUNS [RATE]: A has DATA published; how long from B's start until it has it (cold),
# and from a new version at A until B, which runs, has it (live). Two namespaces, 100 Mbit/s links, default settings.
set -eu
HERE=$(dirname "$(realpath "$0")"); D=$(realpath $1); RUNS=${2:-3}; RATE=${3:-100mbit}; N=${NODE_BIN:-syncra}
export SYN_PREFIX=${SYN_PREFIX:-syn}; P=$SYN_PREFIX; W=$(mktemp -d)
trap 'for p in ${A:-} ${B:-}; do kill $p 2>/dev/null || true; done; wait 2>/dev/null || true; "$HERE/net.sh" down; rm -rf "$W"' EXIT
[ -z "${BENCH_NICE:-}" ] || echo $BENCH_NICE > /proc/self/autogroup
"$HERE/net.sh" up 2 $RATE
a() { ip netns exec $P-n0 $N -q --home $W/a --json --yes "$@"; }
b() { ip netns exec $P-n1 $N -q --home $W/b --json --yes "$@"; }
now() { date +%s%N; }
secs() { echo "$1 $2" | awk '{printf "%.2f", ($2 - $1) / 1e9}'; }
field() { grep -o "\"$1\":\"[^\"]*\"" | head -1 | cut -d'"' -f4; }
ip netns exec $P-n0 $N -q --home $W/a --json up > $W/up.a & A=$!
until [ -s $W/up.a ]; do sleep 0.01; done
mkdir $W/pkg; cp -r "$D"/. $W/pkg
ref=$(a publish --name neighbour --kind asset $W/pkg | field ref)
for run in $(seq $RUNS); do
  rm -rf $W/b $W/got; from=$(now); b get $ref -o $W/got > $W/out; to=$(now)
  diff -r $W/pkg $W/got && echo "cold, short-lived node: $(secs $from $to) s"
done
rm -rf $W/b; ip netns exec $P-n1 $N -q --home $W/b --json up > $W/up.b & B=$!
until [ -s $W/up.b ]; do sleep 0.01; done
until b add ${ref%@*} > $W/out 2>&1; do sleep 0.01; done
for run in $(seq $RUNS); do
  head -c 65536 /dev/urandom > $W/pkg/new.bin; from=$(now); a publish --name neighbour --kind asset $W/pkg > $W/out; published=$(now)
  until b update > $W/out 2>&1 && grep -q "1\.0\.$run\"" $W/out; do sleep 0.005; done
  to=$(now); echo "live: publish $(secs $from $published) s, then installed after $(secs $published $to) s"
done
