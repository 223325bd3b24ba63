"""Notebooks in batch: a grid of parameters, each cell a process of its own, on slots or on a cluster.

What is done is known by a hash of notebook, parameters, data and package, and is not done again.

May import: errors, disk, version, sets, scan, diagnostics, report, views, training, papers.
Open first: run.py (a whole grid), jobs.py (what is to be done), supervise.py (one job from begin to end).
"""

from workbench.batch.job import Job
from workbench.batch.jobs import plan
from workbench.batch.manifest import Manifest
from workbench.batch.parameters import Parameter, parameters
from workbench.batch.results import record
from workbench.batch.run import Summary, batch

__all__ = ["Job", "Manifest", "Parameter", "Summary", "batch", "parameters", "plan", "record"]
