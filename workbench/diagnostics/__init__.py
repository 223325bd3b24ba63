"""Diagnostics, by the question they answer: retrieval, gap, matched, spread, spectrum, clusters."""
