"""Objectives: terms that are pure functions of a `Batch`, and recipes that compose them.

May import: errors, geometry.
Open first: batch.py, then recipes/ (one declared function a recipe).
"""
