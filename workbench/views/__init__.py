"""Views: functions from reports, sets and runs to plotly figures and to pages. A figure is data, so tests need no browser."""
