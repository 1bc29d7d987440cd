"""python -m endpoint --port 0 --ready-file PATH [--exit-with-stdin]"""

import argparse
import json
import os
import sys
import threading
import time

from .server import Server


def exit_with_stdin():
    """A test that is killed closes our stdin: leave with it, whatever is under way."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def exit_with_parent(parent):
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def write_ready(path, port):
    """By rename, so that a reader never sees half a file."""
    with open(f"{path}.part", "w") as file:
        json.dump({"port": port, "runtime_port": port, "pid": os.getpid()}, file)
    os.replace(f"{path}.part", path)


def main():
    options = argparse.ArgumentParser(prog="endpoint")
    options.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options.add_argument("--ready-file", help="written with the port once the endpoint listens")
    options.add_argument("--exit-with-stdin", action="store_true", help="end when stdin closes or the parent dies")
    args = options.parse_args()
    if args.exit_with_stdin:
        threading.Thread(target=exit_with_parent, args=(os.getppid(),), daemon=True).start()
        threading.Thread(target=exit_with_stdin, daemon=True).start()
    server = Server(args.port)
    if args.ready_file:
        write_ready(args.ready_file, server.server_port)
    else:
        print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
