#!/usr/bin/env python3
"""How long from "saved here" to "on disk there": two real nodes on loopback, `syncra draft` and `syncra draft --follow`.

    draft.py PROGRAM [SAVES]

Every other save is another file renamed over the first, as editors do.
"""
import json, os, signal, statistics, subprocess, sys, tempfile, time

program, saves = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20


def main(work):
    def environment(home):
        return dict(os.environ, SYNCRA_HOME=f"{work}/{home}", SYNCRA_LAN_PORT="0")

    def run(home, *args):
        done = subprocess.run([program, *args, "--json"], env=environment(home), cwd=work, capture_output=True, check=True)
        return json.loads(done.stdout)["data"]

    running = []

    def start(home, *args):
        process = subprocess.Popen([program, *args], env=environment(home), cwd=work, stdout=subprocess.PIPE)
        running.append(process)
        return process

    def up(home, *args):
        line = start(home, "up", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", *args).stdout.readline()
        return json.loads(line)["data"]["listen"][0]

    try:
        run("here", "new", "world", "island")
        run("here", "publish", "island", "--yes")
        package = run("here", "list")["packages"][0]["ref"]
        at = up("here")
        up("there", "--bootstrap", at)
        run("there", "connect", at)
        start("here", "draft", "island", "--public").stdout.readline()
        start("there", "draft", package, "--follow", "-o", "live").stdout.readline()
        taken = [save(work, n) for n in range(saves)]
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()
    taken.sort()
    median, least, most = statistics.median(taken), taken[0], taken[-1]
    print(f"{saves} saves: median {median:.0f} ms, least {least:.0f}, most {most:.0f}")


def save(work, n):
    text = f"version {n}\n" * 20
    begun = time.monotonic()
    if n % 2:
        with open(f"{work}/island/note.txt~", "w") as file:
            file.write(text)
        os.rename(f"{work}/island/note.txt~", f"{work}/island/note.txt")
    else:
        with open(f"{work}/island/note.txt", "w") as file:
            file.write(text)
    while True:
        try:
            with open(f"{work}/live/note.txt") as file:
                if file.read() == text:
                    break
        except FileNotFoundError:
            pass
        time.sleep(0.001)
    taken = (time.monotonic() - begun) * 1000
    time.sleep(0.5)
    return taken


with tempfile.TemporaryDirectory() as work:
    main(work)
