"""Objectives: terms that are pure functions of a `Batch`, and recipes that compose them."""
