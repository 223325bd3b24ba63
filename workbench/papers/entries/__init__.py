"""One file a paper: its prose and facts, and the experiment that puts its claim to the test."""
