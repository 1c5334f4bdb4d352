"""Where jobs are planned: processes of this machine, planning servers, a Ray cluster."""
