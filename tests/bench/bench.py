#!/usr/bin/env python3
"""Run a peer system through one provider -> one or more receivers, each in its own network namespace.

bench.py run DRIVER SRC [--src2 V2] [--runs 3] [--receivers 1] [--disk DIR] [--out results.jsonl] [--label W1] [--warm GIB]
bench.py table results.jsonl

A driver is an executable drivers/NAME; to add a system, add one such file. Verbs (first argument):
  version    print one line
  provide    publish $SRC and serve it on $ADDR:$PORT until SIGTERM; create $STATE/ticket when others may fetch.
             Called again with a new $SRC and the same $STATE for an update (the first one was stopped before).
  fetch      fetch what the ticket file $TICKET names into $DEST; exit 0 when complete. $STATE is the receiver's
             own; on an update $DEST holds version 1 and $STATE what version 1 left there. May touch $STATE/ready
             when its daemon is up and the transfer proper begins. $ADDR is the receiver's own address,
             $INDEX its number (1..), $PEERS the addresses of all nodes.
Exit status 9 = this driver cannot do it.
Measured: publish seconds (provide start -> ticket), fetch wall, CPU seconds of each side's whole process group
(control group when the machine has one, else what wait4 tells), peak RSS sums (sampled), bytes on the wire (counters
of the node's interface), and whether DEST is byte for byte SRC.
"""
import argparse, filecmp, json, os, shutil, signal, statistics, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
P = os.environ.get("SYN_PREFIX", "syn")
NICE = os.environ.get("BENCH_NICE")
if NICE == "rt":
    # Turns of a millisecond, about those of the usual scheduler: in the 100 ms that are usual here, threads that only wait
    # for another one, spinning, keep it from running.
    open("/proc/sys/kernel/sched_rr_timeslice_ms", "w").write("1")
CG = "/sys/fs/cgroup/cpuacct" if os.path.isdir("/sys/fs/cgroup/cpuacct") else None

GROUPS = []
def bail(*_):
    for g in GROUPS:
        for p in g.pids():
            try: os.kill(p, signal.SIGKILL)
            except OSError: pass
    os._exit(124)
signal.signal(signal.SIGTERM, bail); signal.signal(signal.SIGINT, bail)

class Group:
    """one side of the transfer: its processes, CPU and memory"""
    n = 0
    def __init__(self, name):
        Group.n += 1
        self.dir = f"{CG}/syn-{os.getpid()}-{Group.n}-{name}" if CG else None
        if self.dir: os.mkdir(self.dir)
        self.peak = 0; self.ru = 0.0; self.stop = False; GROUPS.append(self)
        self.t = threading.Thread(target=self.sample, daemon=True); self.t.start()
    def pids(self):
        try: return [int(x) for x in open(self.dir + "/cgroup.procs").read().split()] if self.dir else []
        except OSError: return []
    def sample(self):
        while not self.stop:
            tot = 0
            for p in self.pids():
                try:
                    for l in open(f"/proc/{p}/status"):
                        if l.startswith("VmRSS"): tot += int(l.split()[1]); break
                except OSError: pass
            self.peak = max(self.peak, tot); time.sleep(0.03)
    def cpu(self):
        return int(open(self.dir + "/cpuacct.usage").read()) / 1e9 if self.dir else self.ru
    def run(self, node, argv, env, log):
        pre = None
        d = self.dir
        def pre():
            os.setsid()
            # On a machine that others use too: every system gets the same head start over them.
            if NICE == "rt": os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
            elif NICE: open("/proc/self/autogroup", "w").write(NICE)
            if d: open(d + "/cgroup.procs", "w").write(str(os.getpid()))
        return subprocess.Popen(["ip", "netns", "exec", f"{P}-n{node}"] + argv, env={**os.environ, **env},
                                stdout=log, stderr=log, preexec_fn=pre)
    def end(self, proc, grace=10):
        if proc.poll() is None:
            try: os.killpg(proc.pid, signal.SIGTERM)
            except ProcessLookupError: pass
            t = time.time()
            while time.time() - t < grace and (proc.poll() is None or self.pids()): time.sleep(0.05)
        for p in self.pids():
            try: os.kill(p, signal.SIGKILL)
            except ProcessLookupError: pass
        try: _, st, ru = os.wait4(proc.pid, 0); self.ru += ru.ru_utime + ru.ru_stime
        except ChildProcessError: pass
    def close(self):
        self.stop = True; self.t.join()
        if self.dir:
            for _ in range(50):
                try: os.rmdir(self.dir); break
                except OSError: time.sleep(0.1)

def wire(node):
    r = subprocess.run(["ip", "netns", "exec", f"{P}-n{node}", "cat", "/sys/class/net/eth0/statistics/rx_bytes",
                        "/sys/class/net/eth0/statistics/tx_bytes"], capture_output=True, text=True).stdout.split()
    if len(r) == 2: return int(r[0]), int(r[1])
    o = json.loads(subprocess.run(["ip", "-n", f"{P}-n{node}", "-s", "-j", "link", "show", "eth0"], capture_output=True, text=True).stdout)[0]["stats64"]
    return o["rx"]["bytes"], o["tx"]["bytes"]

OURS = (".stfolder", ".git", ".syncra")   # what a system itself leaves in a receiver's folder

def listing(top):
    found = {}
    for root, dirs, files in os.walk(top):
        dirs[:] = [d for d in dirs if d not in OURS]
        for f in files:
            p = os.path.join(root, f)
            found[os.path.relpath(p, top)] = os.path.getsize(p)
    return found

def same(src, dst):
    """Byte for byte, both ways: nothing missing, nothing left over."""
    a, b = listing(src), listing(dst)
    if a != b: return False
    return all(filecmp.cmp(os.path.join(src, f), os.path.join(dst, f), shallow=False) for f in a)

def one(drv, src, src2, receivers, disk, timeout, quiet):
    shutil.rmtree(disk, ignore_errors=True); os.makedirs(disk)
    exe = drv if os.path.sep in drv else f"{HERE}/drivers/{drv}"
    peers = " ".join(f"10.77.0.{i+1}" for i in range(receivers + 1))
    res = {}
    logf = open(f"{disk}/log", "wb")
    for step, s in enumerate([x for x in (src, src2) if x]):
        tag = "" if step == 0 else "u_"
        pst = f"{disk}/prov"; os.makedirs(pst, exist_ok=True)
        tick = f"{pst}/ticket"
        if os.path.exists(tick): os.rename(tick, tick + ".old")
        g = Group("prov"); t0 = time.time()
        p = g.run(0, [exe, "provide"], {"SRC": os.path.abspath(s), "STATE": pst, "ADDR": "10.77.0.1", "PORT": "7700", "PEERS": peers,
                                        "STEP": str(step)}, logf)
        while not os.path.exists(tick):
            if p.poll() is not None: g.end(p); g.close(); return {"error": f"provider rc={p.returncode}", **res}
            if time.time() - t0 > timeout: g.end(p); g.close(); return {"error": "publish timeout", **res}
            time.sleep(0.005)
        res[tag + "publish_s"] = time.time() - t0; res[tag + "publish_cpu"] = c0 = g.cpu(); res[tag + "publish_rss"] = g.peak; g.peak = 0
        w0 = [wire(i) for i in range(receivers + 1)]
        runs = []; t1 = time.time()
        for i in range(1, receivers + 1):
            st = f"{disk}/recv{i}"; os.makedirs(st, exist_ok=True); dst = f"{disk}/dest{i}"; os.makedirs(dst, exist_ok=True)
            if os.path.exists(st + "/ready"): os.unlink(st + "/ready")
            h = Group(f"recv{i}")
            q = h.run(i, [exe, "fetch"], {"TICKET": tick, "STATE": st, "DEST": dst, "ADDR": f"10.77.0.{i+1}", "PORT": "7700", "INDEX": str(i), "PEERS": peers, "STEP": str(step)}, logf)
            runs.append([h, q, st, dst, None])
        linger = os.environ.get("LINGER") == "1"
        while any(r[4] is None for r in runs):
            for r in runs:
                if r[4] is None:
                    if linger and os.path.exists(r[2] + "/done"): r[4] = time.time()
                    elif r[1].poll() is not None: r[4] = time.time()
            if time.time() - t1 > timeout: break
            time.sleep(0.003)
        t2 = time.time()
        ends = [(r[4] or t2) - t1 for r in runs]
        res[tag + "fetch_s"] = max(ends); res[tag + "fetch_first_s"] = min(ends)
        rd = [os.path.getmtime(r[2] + "/ready") - t1 for r in runs if os.path.exists(r[2] + "/ready")]
        if rd: res[tag + "fetch_ready_s"] = max(rd)
        res[tag + "serve_cpu"] = g.cpu() - c0; res[tag + "recv_cpu"] = sum(r[0].cpu() for r in runs) / receivers
        res[tag + "serve_rss"] = g.peak; res[tag + "recv_rss"] = max(r[0].peak for r in runs)
        w1 = [wire(i) for i in range(receivers + 1)]
        res[tag + "prov_tx"] = w1[0][1] - w0[0][1]; res[tag + "prov_rx"] = w1[0][0] - w0[0][0]
        res[tag + "recv_rx"] = sum(b[0] - a[0] for a, b in list(zip(w0, w1))[1:]) // receivers
        rcs = [r[1].poll() for r in runs]
        for r in runs: r[0].end(r[1])
        g.end(p)
        if not linger:
            res[tag + "rc"] = [r[1].returncode for r in runs] if receivers > 1 else runs[0][1].returncode
        res[tag + "ok"] = all(same(s, r[3]) for r in runs)
        for r in runs: r[0].close()
        g.close()
        if any(x is None for x in rcs) and not linger: res["error"] = "fetch timeout"; break
        if any(r[4] is None for r in runs): res["error"] = "fetch timeout"; break
    return res

def warm(path, gib):
    """A virtual machine may have given pages that nobody used back to its host, and then each costs several times as much
    when it is written: so many are written and freed just before, whichever system comes."""
    with open(path, "wb") as f:
        for _ in range(gib << 10): f.write(b"\1" * (1 << 20))
    os.unlink(path)

def fmt(v):
    return f"{v:.2f}" if isinstance(v, float) else str(v)

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("cmd"); ap.add_argument("driver", nargs="?"); ap.add_argument("src", nargs="?"); ap.add_argument("--src2")
    ap.add_argument("--runs", type=int, default=3); ap.add_argument("--receivers", type=int, default=1)
    ap.add_argument("--disk", default="/tmp", help="where a folder syn-bench-PID is made and removed"); ap.add_argument("--out", default="results.jsonl")
    ap.add_argument("--label", default="-"); ap.add_argument("--timeout", type=int, default=240); ap.add_argument("--keep", action="store_true")
    ap.add_argument("--warm", type=int, default=0, help="GiB")
    a = ap.parse_args()
    if a.cmd == "table": return table(a.driver)
    exe = a.driver if os.path.sep in a.driver else f"{HERE}/drivers/{a.driver}"
    ver = subprocess.run([exe, "version"], capture_output=True, text=True).stdout.strip()
    a.disk = os.path.join(a.disk, f"syn-bench-{os.getpid()}")   # only this folder is ever removed
    for i in range(a.runs):
        if a.warm: warm(a.disk + ".warm", a.warm)
        r = one(a.driver, a.src, a.src2, a.receivers, a.disk, a.timeout, True)
        r.update(label=a.label, driver=os.path.basename(a.driver), variant=os.environ.get("VARIANT", ""), version=ver, receivers=a.receivers)
        with open(a.out, "a") as f: f.write(json.dumps(r) + "\n")
        print(a.label, a.driver, r["variant"], {k: (round(v, 2) if isinstance(v, float) else v) for k, v in r.items() if k not in ("label", "driver", "version", "variant")}, flush=True)
        if r.get("error"):
            print(open(a.disk + "/log", errors="replace").read()[-1500:]); break
    if not a.keep: shutil.rmtree(a.disk, ignore_errors=True)

def table(path):
    rows = {}
    for l in open(path):
        r = json.loads(l); rows.setdefault((r["label"], r["driver"] + (":" + r["variant"] if r["variant"] else "")), []).append(r)
    cols = ["publish_s", "publish_cpu", "fetch_s", "fetch_ready_s", "serve_cpu", "recv_cpu", "serve_rss", "recv_rss", "prov_tx", "recv_rx",
            "u_publish_s", "u_publish_cpu", "u_fetch_s", "u_fetch_ready_s", "u_serve_cpu", "u_recv_cpu", "u_prov_tx", "u_prov_rx"]
    for (lab, d), rs in sorted(rows.items()):
        good = [r for r in rs if not r.get("error") and r.get("ok")]
        print(f"{lab} {d} n={len(good)}/{len(rs)} " + " ".join(
            f"{c}={min(x):.2f}/{statistics.median(x):.2f}" if "rss" not in c and "x" != c[-1] else f"{c}={statistics.median(x)/(1024 if 'rss' in c else 2**20):.1f}M"
            for c in cols for x in [[r[c] for r in good if c in r]] if x) + (" ERR " + str(rs[-1].get("error")) if len(good) < len(rs) else ""))

main()
