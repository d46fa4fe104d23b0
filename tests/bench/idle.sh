#!/bin/bash
# What a node costs while nothing happens. idle.sh PACKAGES [SECONDS]: publishes and installs that many small packages in a
# fresh home, then measures start-up, memory, CPU while idle, and one local verb.
set -eu
COUNT=${1:-500}; SECONDS_IDLE=${2:-60}; N=${NODE_BIN:-syncra}; W=$(mktemp -d); export SYNCRA_HOME=$W/home
trap 'kill ${NODE:-0} 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$W"' EXIT
now() { date +%s%N; }
ms() { echo $(( ($2 - $1) / 1000000 )); }
up() { # starts the node; tells the time until its ready line
  : > $W/up; local from=$(now); $N -q --json up > $W/up & NODE=$!
  until [ -s $W/up ]; do kill -0 $NODE; sleep 0.002; done; STARTED=$(ms $from $(now))
}
down() { kill $NODE; wait $NODE || true; NODE=; }
ticks() { awk '{print $14 + $15}' /proc/$NODE/stat; }
up; echo "start-up, new home: $STARTED ms"; down
up; echo "start-up, empty home: $STARTED ms"
from=$(now)
for i in $(seq $COUNT); do
  mkdir -p $W/p; head -c 3000 /dev/urandom > $W/p/data.bin; echo "package $i" > $W/p/readme.txt
  ref=$($N --json --yes publish --name idle-$i --kind asset $W/p | grep -o '"ref":"[^"]*"' | cut -d'"' -f4)
  $N --json --yes add $ref > /dev/null
done
echo "publish and install $COUNT packages: $(ms $from $(now)) ms"
down; up; echo "start-up, $COUNT packages: $STARTED ms"
sleep 5; a=$(ticks); sleep $SECONDS_IDLE; b=$(ticks)
echo "idle, $COUNT packages: $(( (b - a) * 10 )) ms of CPU in $SECONDS_IDLE s; RSS $(awk '/^VmRSS/{print $2}' /proc/$NODE/status) KiB; threads $(awk '/^Threads/{print $2}' /proc/$NODE/status)"
for verb in list status; do from=$(now); $N --json $verb > /dev/null; echo "syncra $verb, node running: $(ms $from $(now)) ms"; done
down; for verb in list; do from=$(now); $N --json $verb > /dev/null; echo "syncra $verb, no node: $(ms $from $(now)) ms"; done
