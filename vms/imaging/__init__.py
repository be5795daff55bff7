"""Files from outside, made harmless: fetched, inspected, converted. Knows no database; every file here is hostile."""
