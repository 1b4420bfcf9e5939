# SPDX-License-Identifier: GPL-2.0-or-later
"""python3 -m vcable --topology FILE --run-dir DIR"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from .commands import Commands
from .ctlsock import ControlSocket
from .loop import Loop
from .topology import TopologyError, parse
from .trace import MAX_BYTES, Level, Trace
from .vfio_user import Server
from .world import World

log = logging.getLogger("vcable")

BAD_TOPOLOGY = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="vcable", description="Virtual USB4 cables for VMs.")
    parser.add_argument("--topology", type=Path, required=True, help="TOML file: hosts, cables")
    parser.add_argument("--run-dir", type=Path, required=True, help="for sockets and the trace")
    parser.add_argument(
        "--trace", choices=[level.name.lower() for level in Level], default="control"
    )
    parser.add_argument("--trace-limit", type=int, default=MAX_BYTES, metavar="BYTES")
    options = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s"
    )
    try:
        topology = parse(options.topology.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, TopologyError) as error:
        print(f"{options.topology}: {error}", file=sys.stderr)
        return BAD_TOPOLOGY
    run_dir: Path = options.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    ready = run_dir / "ready"
    ready.unlink(missing_ok=True)

    loop = Loop()
    trace = Trace(run_dir / "cable.trace", Level[options.trace.upper()], options.trace_limit)
    world = World(topology, loop, trace)
    servers = [
        Server(run_dir / f"{host}-{number}.vfio", router, loop)
        for (host, number), router in world.routers.items()
    ]
    control = ControlSocket(run_dir / "control.sock", Commands(world, loop.stop).execute_line, loop)
    loop.stop_on_signals(signal.SIGTERM, signal.SIGINT)
    ready.write_text("")
    log.info("%d routers, %d cables", len(servers), len(world.cables))
    loop.run()
    ready.unlink(missing_ok=True)
    control.close()
    for server in servers:
        server.close()
    trace.close()
    loop.close()
    log.info("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
