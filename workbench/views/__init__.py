"""Views: functions from reports, sets and runs to plotly figures and to pages."""
