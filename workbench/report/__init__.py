"""Reports: from a set to numbers with intervals and nulls, and to the sentences of the doctor.

May import: errors, disk, geometry, version, sets, scan, diagnostics; and views, for `Report.to_html` and the like.
Open first: diagnose.py (the one call), report.py (what it gives), doctor/ (the rules).
"""
