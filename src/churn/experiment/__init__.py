"""Does calling help? The group that is not called, what it shows, and how that is used."""
