"""README tables from results."""
