"""What is damaged, and what was checked."""
