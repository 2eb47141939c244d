"""Speed, size and memory against what a user would pick instead, in the same run."""
