"""Why a finished run answers as it does: what it read, what its queries look for, and whether that is right."""
