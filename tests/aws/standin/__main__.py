"""Starts the stand-in and says where it listens."""

import argparse
import os
import signal
import threading
import time


def main():
    parser = argparse.ArgumentParser(prog="standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--plain", action="store_true", help="moto alone, with call recording")
    parser.add_argument("--exit-with-parent", action="store_true")
    options = parser.parse_args()
    parent = os.getppid()
    # moto and botocore must not find the user's own settings.
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    os.environ.pop("AWS_PROFILE", None)
    # Newer Regions than botocore knows; and without its 1,300 images a new account and Region
    # costs moto 10 ms instead of 100.
    os.environ.setdefault("MOTO_ALLOW_NONEXISTENT_REGION", "true")
    os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

    from .app import App
    from .server import Server

    server = Server(options.port, App(plain=options.plain))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    if options.exit_with_parent:
        threading.Thread(target=exit_with, args=(parent,), daemon=True).start()
    print(f"listening http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def exit_with(parent):
    """Ends the process once its parent is another one, so that a killed test leaves nothing behind."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)


main()
