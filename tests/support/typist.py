"""A person at a terminal: runs a program on one of its own, types each line when its question stands there, prints all that was shown.

Arguments: the questions and lines as a JSON list of pairs, then the program with its arguments. The last line says how it ended.
"""

import json
import os
import pty
import select
import sys
import time

script, program = json.loads(sys.argv[1]), sys.argv[2:]
child, screen = pty.fork()
if child == 0:
    os.execv(program[0], program)
shown, seen, end = b"", 0, time.monotonic() + 60
while time.monotonic() < end:
    ready, _, _ = select.select([screen], [], [], 0.2)
    if ready:
        try:
            data = os.read(screen, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    if script and (at := shown.find(script[0][0].encode(), seen)) >= 0:
        seen = at + len(script[0][0])
        time.sleep(0.2)  # the program turns its echo off after it asked
        os.write(screen, (script.pop(0)[1] + "\n").encode())
else:
    os.kill(child, 9)
status = os.waitpid(child, 0)[1]
sys.stdout.buffer.write(shown.replace(b"\r\n", b"\n"))
print(f"\n[exit {os.waitstatus_to_exitcode(status)}, {len(script)} not asked]")
