#!/bin/bash
# W6: registry.sh DATA RUNS: publish four packages (gen.py w6), three of which the fourth needs, then install that one elsewhere:
# with an empty home, and again after removing it. 100 Mbit/s is not set: as the npm figures it is compared with.
set -eu
HERE=$(dirname "$(realpath "$0")"); D=$(realpath $1); RUNS=${2:-3}; N=${NODE_BIN:-syncra}
export SYN_PREFIX=${SYN_PREFIX:-syn}; P=$SYN_PREFIX; W=$(mktemp -d); A=
trap '[ -z "$A" ] || kill $A 2>/dev/null || true; wait 2>/dev/null || true; "$HERE/net.sh" down; rm -rf "$W"' EXIT
[ -z "${BENCH_NICE:-}" ] || echo $BENCH_NICE > /proc/self/autogroup
a() { ip netns exec $P-n0 $N -q --home $W/a --json --yes "$@"; }
b() { ip netns exec $P-n1 $N -q --home $W/b --json --yes "$@"; }
now() { date +%s%N; }
secs() { echo "$1 $2" | awk '{printf "%.2f", ($2 - $1) / 1e9}'; }
field() { grep -o "\"$1\":\"[^\"]*\"" | head -1 | cut -d'"' -f4; }
"$HERE/net.sh" up 2
for run in $(seq $RUNS); do
  rm -rf $W/a $W/b $W/d $W/up; cp -r $D $W/d; mkdir $W/b; chmod 700 $W/b
  from=$(now); ip netns exec $P-n0 $N -q --home $W/a --json up --listen /ip4/10.77.0.1/tcp/7700 > $W/up & A=$!
  until [ -s $W/up ]; do sleep 0.002; done; started=$(now)
  needs=
  for p in dep0 dep1 dep2; do
    ref=$(a publish --name syn-$p --kind asset $W/d/syn-$p | field ref); needs="$needs\"${ref%@*}\" = \"^1\"
"
  done
  printf '[package]\nname = "syn-world"\nversion = "1.0.0"\nkind = "world"\n\n[dependencies]\n%s' "$needs" > $W/d/syn-world/syncra.toml
  ref=$(a publish $W/d/syn-world | field ref); published=$(now)
  printf 'bootstrap = ["/ip4/10.77.0.1/tcp/7700/p2p/%s"]\n' $(field peer_id < $W/up) > $W/b/config.toml
  cold=$(now); b add ${ref%@*} > $W/out; installed=$(now)
  [ $(grep -o '"to":"1.0.0"' $W/out | wc -l) = 4 ]; b remove ${ref%@*} > $W/out
  again=$(now); b add ${ref%@*} > $W/out; cached=$(now)
  cmp $D/syn-world/blob.bin $W/b/installed/store/*/blob.bin 2>/dev/null || find $W/b/installed/store -name blob.bin -size 1024k | xargs -r -n1 cmp $D/syn-world/blob.bin
  echo "start $(secs $from $started) s, publish four $(secs $started $published) s, install cold $(secs $cold $installed) s, again $(secs $again $cached) s"
  kill $A; wait $A || true; A=
done
