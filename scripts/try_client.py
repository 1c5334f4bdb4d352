"""Run the client as an old interpreter has it: plan, predict, simulate, a job and an error against a server here.

python scripts/try_client.py PYTHON REQUIREMENT...

makes an environment with PYTHON (3.9 or newer) and the requirements, and needs the network for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "service"))
from service_process import Service  # noqa: E402

_CALLS = """
import sys
import numpy as np
import powerplan_client as pc

rng = np.random.default_rng(0)
weights = [rng.normal(size=(16, 8)) / 3, rng.normal(size=(4, 16)) / 4]
network, hardware, inputs = pc.Network.mlp(weights), pc.Hardware(programming_noise_std=1e-6), rng.normal(size=(16, 8))
with pc.PlannerClient(sys.argv[1]) as client:
    plan = client.plan(network, hardware, inputs, pc.MaxNMSE(0.02))
    assert 0 < client.predict(network, hardware, plan.gains, inputs).mse
    assert 0 < client.simulate(network, hardware, plan.gains, inputs, draws=10).mse
    job = client.submit(network, hardware, inputs, pc.MaxNMSE(0.02))
    assert client.wait_job(job.job_id).power == plan.power
    try:
        client.plan(network, hardware, inputs[:, :3], pc.MaxNMSE(0.02))
    except pc.InvalidRequest as error:
        assert error.violations
    else:
        raise AssertionError("inputs of another width were taken")
try:
    pc.Hardware(1e-6)
except TypeError:
    print(sys.version.split()[0], *sys.argv[2:], "works")
"""


def main() -> None:
    """Make the environment, start a server, run the calls."""
    python, *requirements = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([python, "-m", "venv", folder / "env"], check=True)
        run = folder / "env" / "bin" / "python"
        install = [run, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *requirements, ROOT / "client"], check=True)
        server = Service(folder)
        try:
            outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            command = [run, "-W", "error", "-c", _CALLS, server.address, *requirements]
            subprocess.run(command, check=True, cwd=folder, env=outside)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
