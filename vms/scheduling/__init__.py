"""What is made by the clock: schedules that are due, and what their retention no longer wants."""
