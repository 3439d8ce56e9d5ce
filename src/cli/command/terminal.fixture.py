"""python3 terminal.fixture.py KEYS COMMAND...: runs it on a terminal of its own; types KEYS (or, as SIG15, sends that
signal) once a question was asked. Prints what was on the terminal; ends as the command did, with 99 where it did not."""
import os, pty, select, sys, time

keys, command = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
seen, asked, until = b"", False, time.monotonic() + 60
while time.monotonic() < until:
    if select.select([terminal], [], [], 0.05)[0]:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # Linux says so where the other side is gone
            break
    if not asked and b" to go on: " in seen:
        asked = True
        if keys.startswith("SIG"):
            os.kill(pid, int(keys[3:]))
        else:
            os.write(terminal, keys.encode())
sys.stdout.write(seen.decode())
done, status = os.waitpid(pid, os.WNOHANG if time.monotonic() >= until else 0)
if done == 0:
    os.kill(pid, 9)
sys.exit(99 if done == 0 else os.waitstatus_to_exitcode(status))
