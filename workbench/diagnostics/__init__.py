"""Diagnostics, by the question they answer: pure functions of states, each with its null and its interval.

May import: disk, errors, geometry, sets, scan.
Open first: registry.py (`@diagnostic`), then the module of a question, such as retrieval.py; nulls/ for what chance
gives.
"""
