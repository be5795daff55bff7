"""What the database says against what the hosts have: read both, compare, write nothing."""
