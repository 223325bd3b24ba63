"""Looking at a set: what is selected, coloured, asked; the map that a notebook and the dashboard share."""
