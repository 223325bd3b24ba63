"""Views: functions from reports and sets to plotly figures and to pages.

May import: errors, disk, version, sets, diagnostics, report.
Open first: figures.py, then page.py.
"""
