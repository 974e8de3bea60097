"""What is behind `run.py`: environments, wheels, and programs of others."""
