"""A server with the fake calls in a process of its own, to be killed. Arguments: PORT DATA_DIR [setting=value ...]."""

from __future__ import annotations

import sys

from powerplan_server import logs
from powerplan_server.config import load_config
from powerplan_server.server import PlannerServer, serve_in_process

if __name__ == "__main__":
    port, data_dir, *settings = sys.argv[1:]
    given = dict(setting.split("=", 1) for setting in settings)
    config = load_config(overrides={"listen": f"127.0.0.1:{port}", "data_dir": data_dir, "workers": 2, **given})
    logs.set_up("info")
    server = PlannerServer(config, calls="planner_fakes:CALLS", preload="powerplan_server.workers.child")
    serve_in_process(server)
