"""Embedding sets: N items × M modalities, how they are read, written, made, and mapped to two dimensions.

May import: errors, geometry, disk, progress.
Open first: embeddings.py (the set itself); formats/ (a path in, a set out), encoders/ (raw columns to vectors),
run_folder.py.
"""
