"""`python -m workbench.cli` is the command line."""

from workbench.cli import main

main()
